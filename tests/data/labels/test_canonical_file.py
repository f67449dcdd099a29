"""A data set in canonical form reads back as it was, to the last digit."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian, FixedPlane

from tensornet_jax.data.auditing.audit import audit
from tensornet_jax.data.labels.canonical import labelled_structure
from tensornet_jax.data.labels.canonical_file import write_canonical
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.readers import read_labelled

CONFIG = LabelConfig.model_validate(
    {
        "energy": "U",
        "tensors": {"alpha": "pol", "nmr": "nmr"},
        "units": {"energy": "kcal/mol", "length": "Bohr", "dipole": "Debye"},
    }
)


def raw(index):
    rng = np.random.default_rng(index)
    atoms = Atoms("HOF", rng.normal(size=(3, 3)), cell=rng.normal(size=(3, 3)), pbc=[1, 1, 0])
    atoms.info = {
        **{
            "U": rng.normal(),
            "energy": 5.0,
            "dipole": rng.normal(size=3),
            "pol": rng.normal(size=9),
        },
        **{"virial": np.diag(rng.normal(size=3)), "total_charge": index - 1, "spin": 2},
        **{"config_type": "two words", "note": 'a "b" = [c', "config_force_weight": "0.3"},
    }
    if index == 1:
        atoms.info |= {"config_energy_weight": 0, "free_energy": 1.0}
    atoms.arrays["forces"] = rng.normal(size=(3, 3))
    atoms.arrays["forces"][1, 2] = np.nan
    atoms.arrays["nmr"] = rng.normal(size=(3, 9))
    atoms.arrays["kind"] = np.array(["a", "b2", "c"])
    atoms.arrays["flag"] = np.array([True, False, True])
    atoms.set_tags([3, 4, 5])
    atoms.set_constraint([FixAtoms([0]), FixCartesian([1], mask=(True, False, False))])
    return atoms


@pytest.fixture
def structures():
    return [labelled_structure(raw(i), CONFIG, f"raw.xyz:{i}") for i in range(3)]


def test_what_is_written_reads_back_bit_for_bit_without_options(tmp_path, structures):
    path = tmp_path / "canonical.xyz"
    assert write_canonical(path, structures) == ()
    assert [entry.name for entry in tmp_path.iterdir()] == ["canonical.xyz"]
    for before, after in zip(structures, read_labelled(path), strict=True):
        one, two = before.labels, after.labels
        assert tuple(one) == tuple(two)
        for name, label in one.items():
            np.testing.assert_array_equal(label, two[name])
            assert before.weights.of(name) == after.weights.of(name)
        for name in ("positions", "kind", "flag", "tags"):
            np.testing.assert_array_equal(before.atoms.arrays[name], after.atoms.arrays[name])
        np.testing.assert_array_equal(before.atoms.cell.array, after.atoms.cell.array)
        assert before.atoms.pbc.tolist() == after.atoms.pbc.tolist()
        for key in ("charge", "spin", "config_type", "note"):
            assert before.atoms.info[key] == after.atoms.info[key]
        fixed = [c.todict() for c in before.atoms.constraints]
        assert len(after.atoms.constraints) >= len(fixed)
        assert "energy" not in after.atoms.info
    one, two = audit(structures), audit(read_labelled(path))
    assert (one.labelled, one.weights, one.charges) == (two.labelled, two.weights, two.charges)
    assert (one.force_rms, one.stress.rms) == (two.force_rms, two.stress.rms)


def test_writing_what_was_read_changes_nothing(tmp_path, structures):
    first, second = tmp_path / "first.xyz", tmp_path / "second.xyz"
    write_canonical(first, structures)
    write_canonical(second, read_labelled(first))
    assert first.read_text() == second.read_text()


def test_a_free_energy_and_an_unstated_charge_stay_what_they_are(tmp_path):
    atoms = Atoms("H", info={"energy": -1.0, "free_energy": -1.5, "text": "two\nlines"})
    path = tmp_path / "canonical.xyz"
    write_canonical(path, [labelled_structure(atoms, LabelConfig(), "raw.xyz:0")])
    (after,) = read_labelled(path)
    assert after.free_energy == -1.5
    assert "charge" not in after.keys
    assert after.atoms.info["text"] == "two lines"
    assert len(ase.io.read(path, ":")) == 1


def test_what_cannot_be_kept_is_told_and_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "canonical.xyz"
    found = labelled_structure(Atoms("H2", info={"energy": -1.0}), LabelConfig(), "raw.xyz:7")
    found.atoms.set_constraint(FixedPlane(0, (0, 0, 1)))
    assert write_canonical(path, [found]) == (
        "constraints of kind FixedPlane cannot be kept in extended XYZ",
    )
    old = path.read_text()
    found.atoms.arrays["kind"] = np.array(["a b", ""])
    with pytest.raises(ValueError, match=r"raw.xyz:7: column 'kind' has empty text or spaces"):
        write_canonical(path, [found])
    assert path.read_text() == old
    assert len(list(tmp_path.iterdir())) == 1


def test_units_that_the_source_stated_are_not_said_of_converted_numbers(tmp_path):
    source, path = tmp_path / "source.xyz", tmp_path / "canonical.xyz"
    source.write_text(
        '2\nProperties=species:S:1:pos:R:3 energy=-1 energy_unit=Hartree r_unit=Bohr pbc="F F F"\n'
        "H 0 0 0\nH 0 0 1.4\n"
    )
    before = read_labelled(source)
    write_canonical(path, before)
    after = read_labelled(path)
    assert after[0].energy == before[0].energy == pytest.approx(-27.2114)
    np.testing.assert_array_equal(before[0].atoms.positions, after[0].atoms.positions)
