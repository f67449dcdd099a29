"""Labels that are zero, placeholders, or of another unit are told though no frames are near."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.units import GPa

from tensornet_jax.data.auditing.audit import audit
from tensornet_jax.data.labels.canonical import labelled_structure
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.references import reference_energies


@pytest.fixture(scope="module")
def copper():
    """Frames at one volume, with EMT's labels under REF_ keys."""
    frames = []
    rng = np.random.default_rng(0)
    for _ in range(6):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array * 0.985, scale_atoms=True)
        atoms.rattle(0.06, rng=rng)
        atoms.calc = EMT()
        info = {
            "REF_energy": atoms.get_potential_energy() - 10.0,
            "REF_stress": atoms.get_stress(voigt=False),
        }
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        atoms.info = info
        frames.append(atoms)
    return frames


def read(frames, factor=1.0, energies=None, **config):
    labels = LabelConfig.model_validate(config)
    result = []
    for index, frame in enumerate(frames):
        atoms = frame.copy()
        atoms.info["REF_stress"] = factor * frame.info["REF_stress"]
        if energies is not None:
            atoms.info["REF_energy"] = energies[index]
        result.append(labelled_structure(atoms, labels, f"file.xyz:{index}"))
    return result


def test_the_size_of_right_stresses_is_shown_and_not_warned_of(copper):
    result = audit(read(copper))
    assert not [text for text in result.warnings if "stress" in text]
    (line,) = [line for line in result.lines() if line.startswith("size of stress")]
    assert "eV/Å³" in line
    assert "GPa) in file.xyz:" in line
    components = np.array([frame.info["REF_stress"] for frame in copper])
    assert result.stress.rms == pytest.approx(np.sqrt(np.mean(components**2)))
    assert result.stress.largest == np.abs(components).max()


@pytest.mark.parametrize("factor", [1 / GPa, -10 / GPa, 1e4 / GPa, 1e-5])
def test_stress_in_another_unit_is_told_with_the_remedy(copper, factor):
    (text,) = [t for t in audit(read(copper, factor)).warnings if t.startswith("unit of stress")]
    assert "data.labels.units.stress" in text
    assert "stress_sign: compression_positive" in text


def test_the_remedies_give_the_right_stress(copper):
    config = {"stress_sign": "compression_positive", "units": {"stress": "kbar"}}
    for right, mended in zip(read(copper), read(copper, -10 / GPa, **config), strict=True):
        np.testing.assert_allclose(mended.labels["stress"], right.labels["stress"], rtol=1e-12)


def test_a_virial_read_as_a_stress_is_told(copper):
    data = read(copper, -copper[0].cell.volume)
    assert any("or a virial?" in text for text in audit(data).warnings)


def test_stress_of_zero_everywhere_is_an_error_and_can_be_ignored(copper):
    (text,) = audit(read(copper, 0.0)).errors
    assert "all stresses of all 6 structures with stress are exactly zero" in text
    assert "--label ignore=stress" in text
    assert audit(read(copper, 0.0, ignore=["stress"])).errors == []
    data = [*read(copper[:2]), *read(copper[2:], 0.0)]
    assert any("4 of 6 structures have a stress of exactly zero" in t for t in audit(data).warnings)


def test_energies_of_zero_everywhere_are_an_error_and_some_a_warning(copper):
    (text,) = audit(read(copper, energies=[0.0] * 6)).errors
    assert "all energies of all 6 structures are exactly zero" in text
    found = audit(read(copper, energies=[0.0, -40.0, 0.0, -40.1, -40.2, -40.3]))
    assert found.errors == []
    assert any("2 of 6 structures have an energy of exactly zero" in t for t in found.warnings)


def test_placeholder_energies_are_told(copper):
    others = [-40.0, -40.1, -40.2, -40.3, -40.4]
    (text,) = audit(read(copper, energies=[1e10, *others])).errors
    assert "energy above 1e+06 eV per atom, a placeholder" in text
    for filler in (9999.0, -999.0, 1e5):
        warnings = audit(read(copper, energies=[filler, *others])).warnings
        assert any("looks like a placeholder" in text for text in warnings)
    labels = LabelConfig.model_validate({"units": {"energy": "kcal/mol"}})
    converted = read(copper, energies=[9999.0, *others], units={"energy": "kcal/mol"})
    assert any("placeholder" in text for text in audit(converted, labels=labels).warnings)
    assert any("energies are equal" in t for t in audit(read(copper, energies=[-1.5] * 6)).warnings)


def slabs(constrained):
    frames = []
    rng = np.random.default_rng(0)
    for _ in range(3):
        atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
        atoms.rattle(0.05, rng=rng)
        atoms.set_constraint(FixAtoms(mask=atoms.get_tags() > 1))
        atoms.calc = EMT()
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.info = {"REF_energy": atoms.get_potential_energy() - 40.0}
        if not constrained:
            atoms.set_constraint()
        frames.append(atoms)
    return frames


def test_zeros_of_frozen_atoms_are_told_though_the_constraint_is_lost():
    data = [labelled_structure(a, LabelConfig(), f"s.xyz:{i}") for i, a in enumerate(slabs(False))]
    (text,) = [text for text in audit(data).warnings if "exactly zero" in text]
    assert text.startswith("24 of 36 atoms in 3 structures")
    assert "s.xyz:0 (atoms 0, 1, 2, 3, …)" in text
    assert "zero_forces: missing" in text
    config = LabelConfig(zero_forces="missing")
    mended = [labelled_structure(a, config, f"s.xyz:{i}") for i, a in enumerate(slabs(False))]
    assert not [text for text in audit(mended).warnings if "zero" in text]


def test_zeros_of_atoms_under_a_constraint_are_told_once():
    data = [labelled_structure(a, LabelConfig(), f"s.xyz:{i}") for i, a in enumerate(slabs(True))]
    texts = [text for text in audit(data).warnings if "zero" in text]
    assert len(texts) == 1
    assert "24 atoms are constrained" in texts[0]


def test_one_atom_without_force_by_symmetry_is_not_told():
    atoms = Atoms("CH2", [[0, 0, 0], [0, 0, 1.2], [0, 0, -1.2]], info={"REF_energy": -20.0})
    atoms.arrays["REF_forces"] = np.array([[0, 0, 0], [0, 0, 1.0], [0, 0, -1.0]])
    assert audit([labelled_structure(atoms, LabelConfig(), "f.xyz:0")]).warnings == []


@pytest.mark.parametrize(
    ("oxygen", "words"),
    [(-330.0, "lie more than 12 eV per atom"), (-470.0, "lie above their isolated atoms")],
)
def test_reference_energies_of_another_level_are_told(oxygen, words):
    data = []
    for index in range(4):
        atoms = Atoms("OH2", np.random.default_rng(index).normal(size=(3, 3)))
        atoms.info["REF_energy"] = -467.2 - 0.1 * index
        data.append(labelled_structure(atoms, LabelConfig(), f"w.xyz:{index}"))
    wrong = reference_energies({"H": -13.6, "O": oxygen}, data)
    (text,) = [text for text in audit(data, wrong).warnings if words in text]
    assert "reference energies E0 (given)" in text
    right = reference_energies({"H": -13.6, "O": -430.0}, data)
    assert audit(data, right).warnings == []


def test_tungsten_binds_as_it_does():
    atoms = bulk("W")
    atoms.info["REF_energy"] = -12.95
    data = [labelled_structure(atoms, LabelConfig(), "w.xyz:0")]
    assert audit(data, reference_energies({"W": -4.05}, data)).warnings == []
