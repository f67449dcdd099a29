"""What `Potential.evaluate` promises: order, units, isolated atoms, precision, compilations."""

import ase
import jax
import numpy as np
import pytest
from ase.build import molecule
from ase.constraints import FixAtoms

import tensornet_jax.potential.evaluation as evaluation_module
import tensornet_jax.potential.potential as potential_module
from tensornet_jax.calculator import Calculator
from tensornet_jax.graph.atom_graph import Capacity, batch_structures, shard_graph, to_device
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tests import tolerances
from tests.builders import (
    ELEMENTS,
    ethanol,
    evaluating_in_one_shape,
    in_box,
    num_compiled,
    small_potential,
    with_config,
)
from tests.physics.structures import cation, crystals, everything

COMPUTE = ("energy", "energies", "forces", "stress")


@pytest.fixture(scope="module")
def potential() -> Potential:
    return small_potential(heads=("energy", "dipole"))


@pytest.fixture
def one_shape():
    with evaluating_in_one_shape():
        yield


@pytest.fixture
def batch_sizes(monkeypatch) -> list[tuple[int, int]]:
    """Number of structures and of atoms in every batch that is evaluated."""
    seen = []

    def spy(structures, *args):
        seen.append((len(structures), sum(map(len, structures))))
        return shard_graph(structures, *args)

    monkeypatch.setattr(evaluation_module, "shard_graph", spy)
    return seen


def assert_same_results(found, expected, rtol=tolerances.SAME_SUM) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for key in other:
            scale = abs(np.asarray(other[key])).max()
            np.testing.assert_allclose(one[key], other[key], rtol=0, atol=rtol * scale, err_msg=key)


def isolated(atoms: ase.Atoms) -> np.ndarray:
    table = dict(zip(ELEMENTS.numbers, ELEMENTS.reference_energies, strict=True))
    return np.array([table[int(number)] for number in atoms.numbers])


# --- shapes, names, order ----------------------------------------------------------------------


@pytest.mark.usefixtures("one_shape")
def test_results_have_the_shapes_asked_for_and_nothing_else(potential):
    atoms = cation()
    (everything_known,) = potential.evaluate(atoms, (*COMPUTE, "free_energy"))
    shapes = {"energies": (9,), "forces": (9, 3), "stress": (3, 3)}
    assert set(everything_known) == {"energy", "free_energy", *shapes}
    for name, shape in shapes.items():
        assert everything_known[name].shape == shape
        assert everything_known[name].dtype == np.float64
    assert type(everything_known["energy"]) is float
    assert everything_known["free_energy"] == everything_known["energy"]


@pytest.mark.usefixtures("one_shape")
def test_results_come_in_the_order_of_the_structures(potential, batch_sizes):
    """Structures are packed by size, so the order inside is another one."""
    structures = [*everything().values(), in_box(molecule("H2O")), in_box(ase.Atoms("C"))]
    structures = [structures[k] for k in np.random.default_rng(0).permutation(len(structures))]
    sizes = [len(atoms) for atoms in structures]
    assert sizes != sorted(sizes)
    together = potential.evaluate(structures, COMPUTE)
    assert len(batch_sizes) == 1
    assert [len(result["forces"]) for result in together] == sizes
    one_by_one = [potential.evaluate(atoms, COMPUTE)[0] for atoms in structures]
    assert_same_results(together, one_by_one)


@pytest.mark.usefixtures("one_shape")
def test_no_batch_holds_more_than_the_batch_size(potential, batch_sizes):
    structures = [in_box(ethanol(seed)) for seed in range(7)]
    results = potential.evaluate(structures, COMPUTE, batch_size=3)
    # Of like numbers: a rest of one would be a program more.
    assert [count for count, _ in batch_sizes] == [2, 2, 3]
    assert_same_results(potential.evaluate(structures, COMPUTE), results)


def test_batches_are_filled_up_to_the_limit_on_atoms(potential, batch_sizes, monkeypatch):
    structures = [in_box(ethanol(seed)) for seed in range(40)] + [crystals()["bulk"] * (1, 1, 2)]
    with evaluating_in_one_shape():
        limit = potential_module.ATOMS_PER_BATCH
        potential.evaluate(structures, COMPUTE)
        assert [count for count, _ in batch_sizes] == [28, 13]
        assert all(atoms <= limit for _, atoms in batch_sizes)
        batch_sizes.clear()
        # A structure larger than the limit is still evaluated, by itself.
        monkeypatch.setattr(potential_module, "ATOMS_PER_BATCH", 9)
        potential.evaluate([structures[0], structures[-1], structures[1]], COMPUTE)
        assert batch_sizes == [(1, 9), (1, 9), (1, 16)]


def test_no_structures_give_no_results(potential):
    assert potential.evaluate([]) == []


@pytest.mark.usefixtures("one_shape")
def test_structures_are_left_as_they_were(potential):
    atoms = crystals()["slab"]
    atoms.positions += 20 * atoms.cell.array[0]
    atoms.set_constraint(FixAtoms([0]))
    atoms.info["charge"] = 0.0
    before = atoms.copy()
    (result,) = potential.evaluate(atoms, COMPUTE)
    assert atoms == before
    assert atoms.info == before.info
    assert set(atoms.arrays) == set(before.arrays)
    assert atoms.calc is None
    assert abs(result["forces"][0]).max() > 0, "a constraint hides no force"


# --- energies ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_shape")
def test_energies_of_the_atoms_sum_to_the_energy_with_isolated_atoms_and_offset(potential):
    structures = list(everything().values())
    bare = potential.replace(elements=ElementTable(ELEMENTS.numbers, np.zeros(5)))
    shifted = potential.replace(energy_offset=3.25)
    for atoms, network, full, moved in zip(
        structures,
        bare.evaluate(structures, COMPUTE),
        potential.evaluate(structures, COMPUTE),
        shifted.evaluate(structures, COMPUTE),
        strict=True,
    ):
        for result in (network, full, moved):
            assert result["energies"].sum() == pytest.approx(
                result["energy"], rel=tolerances.ROUNDING
            )
        expected = network["energies"] + isolated(atoms)
        np.testing.assert_allclose(full["energies"], expected, rtol=tolerances.ROUNDING)
        assert moved["energy"] - full["energy"] == pytest.approx(3.25, abs=tolerances.SAME_ENERGY)
        np.testing.assert_array_equal(moved["forces"], full["forces"])


@pytest.mark.usefixtures("one_shape")
def test_scale_multiplies_what_the_network_predicts(potential):
    bare = potential.replace(elements=ElementTable(ELEMENTS.numbers, np.zeros(5)))
    doubled = bare.replace(energy_scale=2 * bare.energy_scale)
    (once,), (twice,) = (p.evaluate(cation(), COMPUTE) for p in (bare, doubled))
    assert_same_results([twice], [{key: 2 * value for key, value in once.items()}])


@pytest.mark.usefixtures("one_shape")
@pytest.mark.parametrize("group", ["O(3)", pytest.param("SO(3)", marks=pytest.mark.slow)])
def test_total_charge_changes_the_energy_and_none_is_zero(potential, group):
    model = with_config(potential, group=group)
    neutral = in_box(ethanol())
    zero, plus, minus = neutral.copy(), neutral.copy(), neutral.copy()
    zero.info["charge"], plus.info["charge"], minus.info["charge"] = 0, 1, -1.0
    energies = [r["energy"] for r in model.evaluate([neutral, zero, plus, minus], COMPUTE)]
    assert energies[0] == pytest.approx(energies[1], rel=tolerances.SAME_SUM)
    assert len(set(np.round(energies[1:], 9))) == 3


# --- what is refused ---------------------------------------------------------------------------


def test_unknown_property_is_named_with_the_known_ones(potential):
    with pytest.raises(ValueError, match=r"no 'polarizability'; it predicts energy, .*dipole"):
        potential.evaluate(ethanol(), ("energy", "polarizability"))


def test_stress_without_a_cell_is_refused(potential):
    with pytest.raises(ValueError, match=r"stress needs a cell with a volume \(structure 1\)"):
        potential.evaluate([cation(), ethanol()], ("energy", "stress"))


def test_dipole_of_a_periodic_structure_is_refused(potential):
    with pytest.raises(ValueError, match=r"dipole has no meaning.*\(structure 1\)"):
        potential.evaluate([ethanol(), crystals()["wire"]], ("dipole",))
    with pytest.raises(ValueError, match="polar_tensors has no meaning in a periodic"):
        potential.evaluate(crystals()["wire"], ("polar_tensors",))


def test_precision_is_single_or_double():
    with pytest.raises(ValueError, match='"float32" or "float64", not \'bfloat16\''):
        create_potential(TensorNetConfig(), ELEMENTS, seed=0, dtype="bfloat16")


def test_model_without_energies_offers_no_derivatives_of_them(potential):
    dipole_only = with_config(potential, heads=("dipole",), num_layers=0)
    assert dipole_only.properties == ("dipole", "polar_tensors")
    assert "dipole" in potential.properties
    energy_only = with_config(potential, heads=("energy",))
    assert energy_only.properties == potential_module.ENERGY_PROPERTIES
    with pytest.raises(ValueError, match="no 'forces'; it predicts dipole"):
        dipole_only.evaluate(ethanol(), ("forces",))
    (found,) = dipole_only.evaluate(ethanol(), ("dipole",))
    assert found["dipole"].shape == (3,)
    assert np.linalg.norm(found["dipole"]) > 0


# --- precision ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_shape")
def test_single_precision_agrees_with_double(potential):
    bare = potential.replace(elements=ElementTable(ELEMENTS.numbers, np.zeros(5)))
    structures = list(everything().values())
    single = bare.astype("float32")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(single.variables)} == {"float32"}
    found = single.evaluate(structures, COMPUTE)
    assert_same_results(found, bare.evaluate(structures, COMPUTE), tolerances.MODEL_FLOAT32)
    assert found[0]["forces"].dtype == np.float64

    # Energies of isolated atoms are added in double precision: they cost no digit.
    heavy = single.replace(elements=ElementTable(ELEMENTS.numbers, np.full(5, -1e5)))
    for atoms, one, other in zip(
        structures, heavy.evaluate(structures, COMPUTE), found, strict=True
    ):
        network = one["energy"] + 1e5 * len(atoms)
        assert network == pytest.approx(other["energy"], abs=tolerances.SAME_ENERGY)


@pytest.mark.usefixtures("one_shape")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_settings_of_the_program_around_it_neither_change_nor_matter(potential, dtype):
    model = potential.astype(dtype)
    structures = [cation(), crystals()["bulk"]]
    expected = model.evaluate(structures, COMPUTE)
    names = ("jax_enable_x64", "jax_default_matmul_precision")
    before = [jax.config.values[name] for name in names]
    compiled = num_compiled()
    for x64 in (False, True):
        with jax.enable_x64(x64), jax.default_matmul_precision("bfloat16"):
            found = model.evaluate(structures, COMPUTE)
            assert [jax.config.values[name] for name in names] == [x64, "bfloat16"]
        assert_same_results(found, expected, rtol=0)
    assert [jax.config.values[name] for name in names] == before
    assert num_compiled() == compiled


# --- the same numbers every time and everywhere --------------------------------------------------


@pytest.mark.usefixtures("one_shape")
def test_same_structures_twice_give_the_same_bits(potential):
    structures = list(everything().values())
    first, second = (potential.evaluate(structures, COMPUTE) for _ in range(2))
    assert_same_results(first, second, rtol=0)


def test_same_seed_gives_the_same_bits_and_another_seed_does_not():
    one = small_potential(seed=0, num_layers=0)
    same, other = (
        create_potential(one.config, ELEMENTS, seed=seed, dtype="float64") for seed in (0, 1)
    )
    jax.tree.map(np.testing.assert_array_equal, one.variables, same.variables)
    first, second = (
        np.asarray(p.variables["params"]["embedding"]["pair_species"]["species"]["embedding"])
        for p in (one, other)
    )
    assert (first != second).all()


def test_every_way_to_a_number_gives_the_same_number(potential, tmp_path):
    """Evaluated, from a saved file, through the ASE calculator, by the function training jits."""
    structures = crystals()
    atoms_list = list(structures.values())
    with evaluating_in_one_shape():
        evaluated = potential.evaluate(atoms_list, COMPUTE)

        save_model(tmp_path / "model.safetensors", potential)
        loaded = load_model(tmp_path / "model.safetensors").evaluate(atoms_list, COMPUTE)
        assert_same_results(loaded, evaluated, rtol=0)

        calculator = Calculator(potential, compilation_cache=False)
        for atoms, expected in zip(atoms_list, evaluated, strict=True):
            atoms.calc = calculator
            found = {
                "forces": atoms.get_forces(),
                "stress": atoms.get_stress(voigt=False),
                "energies": atoms.get_potential_energies(),
                "energy": atoms.get_potential_energy(),
            }
            assert_same_results(
                [found], [{key: expected[key] for key in found}], tolerances.SAME_MODEL
            )

    prepared = [potential.structure(atoms) for atoms in atoms_list]
    with potential.precision():
        capacity = Capacity.holding(prepared)._replace(graphs=9)
        graph = to_device(batch_structures(prepared, capacity, potential.dtype))
        predict = jax.jit(potential.predict, static_argnums=2)
        outputs = jax.device_get(predict(potential.variables, graph, ("energy",)))
    for index, (structure, expected) in enumerate(zip(prepared, evaluated, strict=True)):
        own = (graph.node_graph == index) & graph.node_mask
        isolated_atoms = potential.reference_energies(structure)
        found = {
            "energy": outputs["energy"][index] + isolated_atoms.sum(),
            "energies": outputs["energies"][own] + isolated_atoms,
        }
        assert_same_results([found], [{key: expected[key] for key in found}], tolerances.SAME_MODEL)


# --- compilations ------------------------------------------------------------------------------


def test_fifty_sizes_compile_once_a_rung_of_the_ladder(potential):
    tiny = with_config(potential, num_layers=0, heads=("energy",))
    chains = [
        ase.Atoms(f"C{size}", np.outer(np.arange(size), [1.5, 0.7, 0.1]))
        for size in range(130, 180)
    ]
    capacities = {Capacity.holding([tiny.structure(chain)]) for chain in chains}
    start = num_compiled()
    for chain in chains:
        tiny.evaluate(chain, ("energy",))
    assert num_compiled() - start == len(capacities) <= 4
    start = num_compiled()
    for count in range(41, 47):
        tiny.evaluate([ase.Atoms("C")] * count, ("energy",))
    assert num_compiled() - start == 1
