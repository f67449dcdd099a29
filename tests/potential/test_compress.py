"""A compressed potential: the same within its tolerance, and a potential like any other."""

from collections.abc import Iterator

import ase.build
import numpy as np
import pydantic
import pytest

from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import Potential
from tensornet_jax.testing import check_forces, check_smooth_at_cutoff, check_stress
from tests import tolerances
from tests.builders import evaluating_in_one_shape, in_box
from tests.models.every_model import small_model
from tests.physics.structures import crystals

TOLERANCE = 1e-5
COMPUTE = ("energy", "forces", "stress")


def molecules() -> list[ase.Atoms]:
    found = []
    for seed, name in enumerate(("CH3CH2OH", "SiH4", "H2O", "C6H6")):
        atoms = ase.build.molecule(name)
        atoms.rattle(0.1, seed=seed)
        found.append(in_box(atoms))
    return found


@pytest.fixture(autouse=True, scope="module")
def one_shape() -> Iterator[None]:
    """Compile a potential once for the structures of all tests, and of `compress` itself."""
    with evaluating_in_one_shape():
        yield


@pytest.fixture(
    scope="module",
    params=[
        "tensornet",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("tensornet as MatGL", "mace")),
    ],
)
def pair(request) -> tuple[Potential, Potential]:
    """Return a potential and its compressed form."""
    potential = small_model(request.param)
    return potential, compress(potential, TOLERANCE)


def test_energies_and_forces_stay_within_the_tolerance_on_other_structures(pair):
    exact, compressed = pair
    structures = [*molecules(), *crystals().values()]
    both = (p.evaluate(structures, COMPUTE) for p in (exact, compressed))
    for atoms, old, new in zip(structures, *both, strict=True):
        assert abs(new["energy"] - old["energy"]) < TOLERANCE * len(atoms)
        # Measured on random clusters, met within a factor elsewhere.
        np.testing.assert_allclose(new["forces"], old["forces"], atol=3 * TOLERANCE)
        assert np.abs(new["forces"] - old["forces"]).max() > 0


def test_errors_are_on_record_and_below_the_tolerance(pair):
    facts = pair[1].metadata["compression"]
    assert facts["tolerance"] == TOLERANCE
    assert 0 < facts["max_error_forces_eV_per_A"] <= TOLERANCE
    assert 0 < facts["max_error_energy_eV_per_atom"] <= TOLERANCE


def test_forces_and_stress_are_derivatives_of_its_own_energy(pair):
    check_forces(pair[1], molecules()[0])
    atoms = ase.build.bulk("SiC", "zincblende", a=4.3, cubic=True)
    atoms.rattle(0.1, seed=1)
    check_stress(pair[1], atoms)


def test_it_ends_without_a_step_at_the_cutoff(pair):
    check_smooth_at_cutoff(pair[1], molecules()[2])


def test_the_calculator_takes_it(pair):
    atoms = molecules()[2]
    (expected,) = pair[1].evaluate(atoms, COMPUTE)
    atoms.calc = TensorNetCalculator(pair[1], compilation_cache=False)
    assert atoms.get_potential_energy() == pytest.approx(
        expected["energy"], rel=tolerances.SAME_MODEL
    )


def test_an_isolated_atom_keeps_its_energy(pair):
    exact, compressed = pair
    atom = in_box(ase.Atoms("C"))
    old, new = (p.evaluate(atom, COMPUTE)[0]["energy"] for p in (exact, compressed))
    assert new == pytest.approx(old, abs=TOLERANCE)


def test_a_model_file_keeps_it(pair, tmp_path):
    save_model(tmp_path / "model.safetensors", pair[1])
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == pair[1].config
    assert loaded.metadata["compression"] == pair[1].metadata["compression"]
    old, new = (p.evaluate(molecules(), COMPUTE) for p in (pair[1], loaded))
    for a, b in zip(old, new, strict=True):
        np.testing.assert_array_equal(a["forces"], b["forces"])


@pytest.mark.slow
def test_dtype_of_the_original_is_kept():
    compressed = compress(small_model("tensornet", "float32"), 1e-3, molecules())
    assert compressed.dtype == "float32"
    assert compressed.metadata["compression"]["structures"] == 4


def test_what_cannot_be_compressed_is_refused():
    plain = small_model("tensornet")
    tables = {"rank": 8, "intervals": 64}
    compressed = plain.replace(config=plain.config.model_copy(update={"compression": tables}))
    with pytest.raises(ValueError, match="compressed already"):
        compress(compressed)
    with pytest.raises(ValueError, match="escn cannot be compressed"):
        compress(small_model("escn truncated"))
    with pytest.raises(ValueError, match="tolerance must be positive"):
        compress(plain, 0.0)
    with pytest.raises(ValueError, match="no structures"):
        compress(plain, structures=[])
    with pytest.raises(ValueError, match=r"cannot compress within 1e-18.*larger tolerance"):
        compress(plain, 1e-18, molecules()[:1])
    with pytest.raises(pydantic.ValidationError, match="no functions of distance alone"):
        type(small_model("escn truncated").config).model_validate({"compression": tables})
