"""Isolated-atom energies and what the data can say about them."""

from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.canonical import labelled_structure
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.data.references import (
    elements_of,
    isolated_atom_indices,
    reference_energies,
)

E0 = {"H": -13.5, "C": -1029.25, "O": -2041.75}


def molecule(formula, energy=None, info=None, **options):
    atoms = Atoms(formula, positions=np.arange(3 * len(Atoms(formula))).reshape(-1, 3), **options)
    total = sum(E0[s] for s in atoms.get_chemical_symbols()) if energy is None else energy
    atoms.info.update({"REF_energy": total, **(info or {})})
    return labelled_structure(atoms, source=f"{formula}.xyz:0")


def test_least_squares_recovers_the_atoms_where_the_data_determine_them():
    data = [molecule(f) for f in ("H2O", "CH4", "CO2", "C2H6O", "H2")]
    found = reference_energies("least_squares", data)
    np.testing.assert_allclose(found.energies, [E0["H"], E0["C"], E0["O"]], rtol=1e-12)
    assert (found.numbers, found.rank, found.undetermined) == ((1, 6, 8), 3, ())
    assert found.energies.dtype == np.float64


def test_one_composition_reports_rank_one_and_gives_the_minimum_norm_solution():
    data = [molecule("C2H6O", energy=-4209.0) for _ in range(5)]
    found = reference_energies("least_squares", data)
    assert found.rank == 1
    assert found.undetermined == ("H", "C", "O")
    np.testing.assert_allclose(found.energies, -4209.0 * np.array([6, 2, 1]) / 41, rtol=1e-12)
    assert found.of(data[0].numbers) == pytest.approx(-4209.0, abs=1e-9)


def test_only_the_elements_that_are_not_determined_are_named():
    # C and O occur only together; H also alone.
    data = [molecule("CO"), molecule("H2"), molecule("COH2"), molecule("COH4")]
    found = reference_energies("least_squares", data)
    assert found.rank == 2
    assert found.undetermined == ("C", "O")
    np.testing.assert_allclose(found.energies[0], E0["H"], rtol=1e-12)


def test_structures_without_energy_are_left_out_of_the_fit():
    data = [molecule("H2"), molecule("H2O"), molecule("CH4"), molecule("CO2", energy=np.nan)]
    found = reference_energies("least_squares", data)
    np.testing.assert_allclose(found.energies, [E0["H"], E0["C"], E0["O"]], rtol=1e-12)
    nothing = reference_energies("least_squares", [molecule("CO2", energy=np.nan)])
    assert (nothing.rank, nothing.undetermined) == (0, ("C", "O"))


def test_given_energies_cover_the_elements_of_the_data_or_name_the_missing_one():
    found = reference_energies({"H": -1.0, "O": -2.0, "Pt": -3.0}, [molecule("H2O")])
    assert found.numbers == (1, 8)
    assert found.of(np.array([8, 1, 1])) == -4.0
    with pytest.raises(ValueError, match=r"no reference energy for O \(given\)"):
        reference_energies({"H": -1.0}, [molecule("H2O")])
    with pytest.raises(ValueError, match="Xx is not a chemical symbol"):
        reference_energies({"H": -1.0, "Xx": 0.0}, [molecule("H2")])
    with pytest.raises(ValueError, match="energy of H is not finite"):
        reference_energies({"H": float("nan")}, [molecule("H2")])
    with pytest.raises(ValueError, match="'median': use least_squares"):
        reference_energies("median", [molecule("H2")])


def test_unknown_element_has_no_sum():
    found = reference_energies("none", [molecule("H2O")])
    assert found.of(np.array([1, 8])) == 0.0
    with pytest.raises(ValueError, match=r"no reference energy for C: known are H, O"):
        found.of(np.array([6, 1]))


def test_isolated_atom_frames_of_the_data_are_used_and_their_indices_known():
    data = [molecule("H"), molecule("H2O", energy=-9.0), molecule("O"), molecule("H")]
    assert isolated_atom_indices(data) == [0, 2, 3]
    found = reference_energies("isolated_atoms", data)
    np.testing.assert_array_equal(found.energies, [E0["H"], E0["O"]])
    with pytest.raises(ValueError, match="no reference energy for O"):
        reference_energies("isolated_atoms", data[:2])


def test_contradicting_isolated_atoms_are_refused_but_ions_are_passed_over():
    ion = molecule("H", energy=0.0, info={"charge": 1.0})
    assert reference_energies("isolated_atoms", [ion, molecule("H")]).energies[0] == E0["H"]
    with pytest.raises(ValueError, match=r"H.xyz:0: a second isolated H"):
        reference_energies("isolated_atoms", [molecule("H"), molecule("H", energy=0.0)])


def test_a_one_atom_crystal_is_not_an_isolated_atom_unless_it_says_so():
    crystal = molecule("C", cell=np.eye(3) * 2.5, pbc=True)
    named = {"config_type": "IsolatedAtom"}
    boxed = molecule("C", info=named, cell=np.eye(3) * 2.5, pbc=True)
    assert isolated_atom_indices([crystal, boxed]) == [1]


def test_isolated_atoms_from_a_file(tmp_path):
    path = tmp_path / "atoms.xyz"
    atoms = [Atoms(s) for s in E0]
    for each in atoms:
        each.calc = SinglePointCalculator(each, energy=E0[each.get_chemical_symbols()[0]])
    ase.io.write(path, atoms)
    found = reference_energies({"isolated_atoms": str(path)}, [molecule("CO2")])
    np.testing.assert_array_equal(found.energies, [E0["C"], E0["O"]])
    assert "atoms.xyz" in found.source


def test_real_isolated_atoms_explain_the_energy_of_acetylacetone(small_reference):
    data = read_labelled(small_reference("acac_dihedral.xyz"))
    path = str(small_reference("acac_isolated_atoms.xyz"))
    found = reference_energies({"isolated_atoms": path}, data)
    assert found.numbers == elements_of(data) == (1, 6, 8)
    binding = [each.energy - found.of(each.numbers) for each in data]
    assert all(-80 < energy < -60 for energy in binding)


def test_real_spice_data_determine_all_nine_elements(small_reference):
    data = read_labelled(small_reference("spice_energies.xyz"))
    found = reference_energies("least_squares", data)
    assert (found.rank, found.undetermined) == (9, ())
    residual = [(each.energy - found.of(each.numbers)) / len(each) for each in data]
    assert np.std(residual) < 0.1


def boxed_atoms(symbol: str, side: float, energy: float | None = -13.5, **info: Any) -> Atoms:
    atoms = Atoms(symbol, cell=[side] * 3, pbc=True, info=info)
    if energy is not None:
        atoms.info["REF_energy"] = energy
    return atoms


def boxed(symbol: str, *options: Any, **info: Any) -> LabelledStructure:
    return labelled_structure(boxed_atoms(symbol, *options, **info), source=f"atoms.xyz:{symbol}")


def test_a_lone_atom_in_a_large_periodic_box_is_isolated():
    assert isolated_atom_indices([boxed("H", 10.0), boxed("H", 4.0)]) == [0]
    # Its shortest lattice vector is the difference of two others.
    skewed = boxed("H", 10.0)
    skewed.atoms.set_cell([[10, 0, 0], [10, 3, 0], [0, 0, 10]])
    chain = boxed("H", 10.0)
    chain.atoms.set_cell([30, 30, 3])
    chain.atoms.pbc = (True, True, False)
    assert isolated_atom_indices([skewed, chain]) == [1]


def test_a_file_of_isolated_atoms_may_have_smaller_boxes_but_no_crystals(tmp_path):
    path = tmp_path / "atoms.xyz"
    water = [molecule("H2O")]
    ase.io.write(
        path, [boxed_atoms("H", 7.0, -13.6), boxed_atoms("O", 7.0, -430.0)], format="extxyz"
    )
    found = reference_energies({"isolated_atoms": str(path)}, water)
    np.testing.assert_array_equal(found.energies, [-13.6, -430.0])
    ase.io.write(
        path, [boxed_atoms("H", 7.0, -13.6), boxed_atoms("O", 3.0, -430.0)], format="extxyz"
    )
    with pytest.raises(ValueError, match=r"for O .*atoms.xyz:1 is periodic, its images 3 Å away"):
        reference_energies({"isolated_atoms": str(path)}, water)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (boxed("O", 3.0), r"config_type=IsolatedAtom or pbc"),
        (boxed("O", 10.0, None), "has no energy"),
        (boxed("O", 10.0, None, config_energy_weight=0.0), "has an energy of weight 0"),
        (boxed("O", 10.0, -1.0, charge=1.0), r"has the charge \+1"),
    ],
)
def test_why_a_frame_of_one_atom_gives_no_reference_energy_is_said(frame, reason):
    data = [molecule("H2O"), boxed("H", 10.0), frame]
    with pytest.raises(ValueError, match=f"no reference energy for O.*{reason}"):
        reference_energies("isolated_atoms", data)
