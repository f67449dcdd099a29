"""Arrays become structures: cells, padding, tensors, charges, and numbers that are no elements."""

import h5py
import numpy as np
import pytest

from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.readers import read_labelled

RNG = np.random.default_rng(0)
NUMBERS = np.array([8, 1, 1])
POSITIONS = RNG.normal(size=(4, 3, 3))
ENERGIES = RNG.normal(size=4)
FORCES = RNG.normal(size=(4, 3, 3))
ARRAYS = {"z": NUMBERS, "R": POSITIONS, "E": ENERGIES, "F": FORCES}
CELL = np.array([[5.0, 0, 0], [1, 6, 0], [0, 0, 7]])


@pytest.fixture(params=["npz", "h5"])
def write(request, tmp_path):
    """Return a function that writes arrays into a file of either format."""

    def written(**arrays):
        path = tmp_path / f"a.{request.param}"
        if request.param == "npz":
            np.savez(path, **arrays)
        else:
            with h5py.File(path, "w") as file:
                group = file.create_group("water")
                for key, value in arrays.items():
                    array = np.asarray(value)
                    group[key] = array.astype("S") if array.dtype.kind == "U" else array
        return path

    return written


def read(path, **config):
    return read_labelled(path, LabelConfig.model_validate(config))


@pytest.mark.parametrize("name", ["cell", "CELL", "lattice_vectors", "unit_cell", "Box", "Lattice"])
@pytest.mark.parametrize("pbc", ["pbc", "PBC"])
def test_a_cell_under_any_usual_name_makes_crystals(write, name, pbc):
    many = {name: np.tile(CELL, (4, 1, 1)), pbc: np.tile([True, True, False], (4, 1))}
    for atoms in read(write(**ARRAYS, **many)):
        np.testing.assert_array_equal(atoms.atoms.cell.array, CELL)
        assert atoms.atoms.pbc.tolist() == [True, True, False]
        assert not atoms.remarks


@pytest.mark.parametrize(
    ("cell", "lengths"),
    [
        (CELL, [5, 37**0.5, 7]),
        (CELL.reshape(9), [5, 37**0.5, 7]),
        (np.tile(CELL.reshape(9), (4, 1)), [5, 37**0.5, 7]),
        (CELL[None], [5, 37**0.5, 7]),
        (np.array([5, 6, 7]), [5, 6, 7]),
        (np.tile([5.0, 6, 7], (4, 1)), [5, 6, 7]),
        (np.array([5, 6, 7, 90, 90, 120.0]), [5, 6, 7]),
    ],
)
def test_cells_come_in_many_shapes(write, cell, lengths):
    for atoms in read(write(**ARRAYS, cell=cell, pbc=True)):
        np.testing.assert_allclose(atoms.atoms.cell.lengths(), lengths)
        assert atoms.atoms.pbc.all()


def test_a_cell_without_pbc_is_periodic_and_told(write):
    (first, *_) = read(write(**ARRAYS, cell=CELL))
    assert first.atoms.pbc.all()
    assert "it has a cell and no pbc" in first.remarks[0]
    (first, *_) = read(write(**ARRAYS, cell=np.zeros((3, 3))))
    assert not first.atoms.pbc.any()
    assert not first.remarks


def test_a_cell_that_is_not_understood_is_an_error_or_told(write):
    for cell in (np.ones((5, 3, 3)), np.ones(4), np.array("cubic")):
        with pytest.raises(ValueError, match=r"a\.(npz|h5).*cell"):
            read(write(**ARRAYS, cell=cell))
    with pytest.raises(ValueError, match=r"pbc .* cell does not span"):
        read(write(**ARRAYS, pbc=True))
    with pytest.raises(ValueError, match="pbc of shape"):
        read(write(**ARRAYS, cell=CELL, pbc=np.ones((2, 3))))
    (first, *_) = read(write(**ARRAYS, cell_lengths=np.ones((4, 3))))
    assert "cell_lengths is not read" in first.remarks[0]


def test_three_lengths_for_three_structures_are_not_taken_for_vectors(write):
    three = {"z": NUMBERS, "R": POSITIONS[:3], "E": ENERGIES[:3]}
    with pytest.raises(ValueError, match="write it as \\(3, 3, 3\\)"):
        read(write(**three, cell=np.full((3, 3), 5.0)))
    assert read(write(**three, cell=np.diag([5.0, 6, 7])))[0].atoms.cell.lengths().tolist() == [
        5,
        6,
        7,
    ]


@pytest.mark.parametrize("shape", [(6,), (9,), (3, 3)])
def test_stress_and_virial_of_crystals_are_labels(write, shape):
    stress = np.diag([1.0, 2.0, 3.0])
    value = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] if shape == (6,) else stress
    many = np.broadcast_to(value.reshape(shape), (4, *shape))
    (first, *_) = read(write(**ARRAYS, cell=CELL, pbc=True, stress=many))
    np.testing.assert_array_equal(first.labels.of("stress"), stress)
    (first, *_) = read(write(**ARRAYS, cell=CELL, pbc=True, virial=many))
    np.testing.assert_allclose(first.labels.of("stress"), -stress / 210)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (4, 3), (4, 3, 1)])
def test_atomic_numbers_come_for_all_structures_or_for_each(write, shape):
    numbers = NUMBERS.reshape(shape) if len(shape) < 3 and shape[0] == 3 else None
    if numbers is None:
        numbers = np.tile(NUMBERS, (4, 1)).reshape(shape)
    for atoms in read(write(**ARRAYS | {"z": numbers})):
        assert atoms.numbers.tolist() == NUMBERS.tolist()


def test_positions_of_other_shapes_are_errors_that_name_the_file(write):
    for shape in ((36,), (2, 2, 3, 3)):
        with pytest.raises(ValueError, match=r"a\.(npz|h5).*are not \(n, N, 3\)"):
            read(write(z=NUMBERS, R=POSITIONS.reshape(shape)))


def test_weights_of_structures_and_labels_are_kept(write):
    weights = np.array([1.0, 0.5, 0.0, 2.0])
    path = write(**ARRAYS, config_weight=weights, config_energy_weight=2.0)
    found = [structure.weights for structure in read(path)]
    assert [each.structure for each in found] == weights.tolist()
    assert {each.labels["energy"] for each in found} == {2.0}


def test_a_group_without_structures_is_passed_over(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name, count in (("none", 0), ("some", 4)):
            group = file.create_group(name)
            group["z"], group["R"], group["E"] = NUMBERS, POSITIONS[:count], ENERGIES[:count]
    assert len(read(path)) == 4


def test_sgdml_keeps_lattice_vectors_as_columns(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS, lattice=CELL.T, e_unit="eV", r_unit="Ang")
    np.testing.assert_array_equal(read(tmp_path / "a.npz")[0].atoms.cell.array, CELL)


def test_padding_is_taken_off_values_of_atoms_of_any_shape(write):
    numbers = np.array([[8, 1, 1, 0, 0], [6, 1, 1, 1, 0]])
    shapes = {"vector": (3,), "flat": (9,), "matrix": (3, 3)}
    values = {name: RNG.normal(size=(2, 5, *shape)) for name, shape in shapes.items()}
    forces = RNG.normal(size=(2, 5, 3))
    mask = np.tile([1, 0, 1, 0, 0], (2, 1))
    path = write(z=numbers, R=RNG.normal(size=(2, 5, 3)), F=forces, mask=mask, **values)
    tensors = {name: name for name in shapes} | {"masked": {"key": "matrix", "mask": "mask"}}
    for atoms, size, row in zip(read(path, tensors=tensors), (3, 4), (0, 1), strict=True):
        found = atoms.labels
        np.testing.assert_array_equal(found["forces"], forces[row, :size])
        for name in shapes:
            expected = values[name][row, :size].reshape(found.tensors[name].shape)
            np.testing.assert_array_equal(found.tensors[name], expected)
        assert np.isnan(found.tensors["masked"][1]).all()
        np.testing.assert_array_equal(found.tensors["masked"][0], values["matrix"][row, 0])


def test_labels_of_structures_keep_their_shape_where_three_atoms_are_padded(write):
    numbers, dipole = np.array([[8, 1, 0]]), np.array([[1.0, 2.0, 3.0]])
    path = write(z=numbers, R=POSITIONS[:1], dipole=dipole, c=np.ones((1, 3, 3, 3, 3)))
    (atoms,) = read(path, tensors={"c": {"key": "c", "per": "structure"}})
    np.testing.assert_array_equal(atoms.labels.of("dipole"), dipole[0])
    assert atoms.labels.tensors["c"].shape == (3, 3, 3, 3)


def test_a_tensor_of_the_structure_or_of_three_atoms_is_asked_for(write):
    path = write(**ARRAYS, alpha=RNG.normal(size=(4, 3, 3)))
    with pytest.raises(ValueError, match=r"alpha of shape \(3, 3\).*set labels.tensors.a.per"):
        read(path, tensors={"a": "alpha"})
    for per, shape in (("structure", (3, 3)), ("atom", (3, 3))):
        (first, *_) = read(path, tensors={"a": {"key": "alpha", "per": per}})
        assert first.labels.tensors["a"].shape == shape
        assert ("a" in first.labels.of_atoms) == (per == "atom")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([[8, 0, 1]], r":0: atom 1 has atomic number 0 and atoms after it"),
        ([[0, 8, 1]], r":0: atom 0 has atomic number 0"),
        ([[0, 0, 0]], r":0: no atoms"),
        ([[8, 1, 119]], r"119 is not an atomic number \(structure 0, atom 2\)"),
        ([[8, -1, 1]], r"-1 is not an atomic number \(structure 0, atom 1\)"),
        ([[8, 1.5, 1]], r"1.5 is not an atomic number"),
        ([[8, np.nan, 1]], r"nan is not an atomic number"),
        (np.array([8, 1, 2**64 - 1], np.uint64), r"18446744073709551615 is not .*atom 2\)"),
        (np.array([b"O", b"H1", b"H"]), r"'H1' is not the symbol .* \(atom 1\)"),
    ],
)
def test_numbers_that_are_no_elements_are_errors_with_file_structure_and_number(
    write, numbers, message
):
    with pytest.raises(ValueError, match=rf"a\.(npz|h5).*{message}"):
        read(write(z=numbers, R=POSITIONS[:1], E=ENERGIES[:1]))


def test_symbols_of_isotopes_give_masses(write):
    (first, *_) = read(write(species=np.array(["O", "D", "h"]), R=POSITIONS, E=ENERGIES))
    assert first.numbers.tolist() == [8, 1, 1]
    np.testing.assert_allclose(first.atoms.get_masses(), [15.999, 2.014, 1.008], atol=1e-3)


CATION = np.tile([0.5, 0.3, 0.19], (4, 1))


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1)])
def test_total_charges_follow_from_charges_of_atoms(write, shape):
    (first, *_) = read(write(**ARRAYS, mbis_charges=CATION.reshape(shape)))
    assert first.state.charge == 1
    assert "the sum of mbis_charges gives +1" in first.remarks[0]
    (first, *_) = read(write(**ARRAYS, mbis_charges=0 * CATION.reshape(shape)))
    assert first.state.charge == 0
    assert not first.remarks


def test_a_total_charge_that_is_stated_counts(write):
    for key in ("charge", "total_charge"):
        for value in (np.array([-1]), np.full(4, -1)):
            (first, *_) = read(write(**ARRAYS, mbis_charges=CATION, **{key: value}))
            assert first.state.charge == -1
    (first, *_) = read(write(**ARRAYS, mbis_charges=CATION, q=np.full(4, 2)), charge="q")
    assert first.state.charge == 2


def test_total_charges_follow_from_smiles_which_must_agree(write):
    (first, *_) = read(write(**ARRAYS, smiles=np.array(["[OH3+]"])))
    assert first.state.charge == 1
    with pytest.raises(ValueError, match=r"mbis_charges sum to .* \+1, the SMILES 'O' has \+0"):
        read(write(**ARRAYS, smiles=np.array(["O"]), mbis_charges=CATION))


def test_charges_that_sum_to_no_whole_number_are_told(write):
    (first, *_) = read(write(**ARRAYS, mulliken_charges=0.4 * CATION))
    assert first.state.charge == 0
    assert "mulliken_charges sum to 0.40, not to a whole number" in first.remarks[0]


def test_charges_of_nuclei_are_not_shares_of_the_total_charge(write):
    for key in ("charges", "nuclear_charges"):
        (first, *_) = read(write(**ARRAYS, **{key: np.tile(NUMBERS, (4, 1))}))
        assert first.state.charge == 0


def test_padded_charges_are_summed_over_atoms(write):
    numbers = np.array([[8, 1, 1], [8, 1, 0]])
    charges = np.array([[-0.8, 0.4, 0.4], [-1.3, 0.3, 9.0]])
    path = write(z=numbers, R=POSITIONS[:2], E=ENERGIES[:2], mbis_charges=charges)
    assert [atoms.state.charge for atoms in read(path)] == [0, -1]
