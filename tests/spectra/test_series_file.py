"""Recorded series as the files have them."""

import numpy as np
import pytest

from tensornet_jax.spectra.average_table import average_rows
from tensornet_jax.spectra.series_file import read_series
from tests.spectra.signals import write_series


@pytest.fixture
def values():
    rng = np.random.default_rng(0)
    shapes = {"dipole": (2, 40, 3), "charges": (2, 40, 2)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def test_structures_and_files_are_replicas_cut_to_the_shortest(tmp_path, values):
    write_series(tmp_path / "a.series.h5", values, per_atom=("charges",))
    shorter = {name: rows[:, :30] + 1 for name, rows in values.items()}
    write_series(tmp_path / "b.series.h5", shorter, per_atom=("charges",))
    found = read_series([tmp_path / "a.series.h5", tmp_path / "b.series.h5"], skip=0.02)
    assert (found.interval, found.units["dipole"], found.per_atom) == (2.0, "e·Å", {"charges"})
    assert found.duration == pytest.approx(0.038)
    expected = np.concatenate([values["dipole"][:, 10:30], shorter["dipole"][:, 10:30]])
    np.testing.assert_array_equal(found.values["dipole"], expected)
    assert found.values["charges"].shape == (4, 20, 2)


def test_averages_are_of_every_component_atom_and_invariant(tmp_path, values):
    values["polarizability"] = np.random.default_rng(1).standard_normal((2, 40, 3, 3))
    write_series(tmp_path / "a.series.h5", values, per_atom=("charges",))
    rows = {
        (r.property, r.atom, r.component): r
        for r in average_rows(read_series(tmp_path / "a.series.h5"))
    }
    assert len(rows) == 1 + 2 + 4 + 10
    assert rows["charges", "H1", ""].mean == pytest.approx(values["charges"][:, :, 1].mean())
    assert rows["dipole", "", "y"].mean == pytest.approx(values["dipole"][:, :, 1].mean())
    length = np.linalg.norm(values["dipole"], axis=2)
    assert rows["dipole", "", "norm"].mean == pytest.approx(length.mean())
    tensor = values["polarizability"]
    assert rows["polarizability", "", "xz"].mean == pytest.approx(tensor[:, :, 0, 2].mean())
    trace = np.trace(tensor, axis1=2, axis2=3).mean() / 3
    assert rows["polarizability", "", "isotropic"].mean == pytest.approx(trace)
    assert rows["temperature", "", ""].mean == 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numbers": (6, 8)}, "other atoms"),
        ({"interval": 1.0}, "other intervals"),
        ({"values": {"dipole": np.zeros((1, 40, 3))}}, "other properties"),
    ],
)
def test_what_are_no_replicas_is_refused(tmp_path, values, change, message):
    write_series(tmp_path / "a.series.h5", values)
    write_series(tmp_path / "b.series.h5", **({"values": values} | change))
    with pytest.raises(ValueError, match=f"b.series.h5, structure 000 has {message} than"):
        read_series([tmp_path / "a.series.h5", tmp_path / "b.series.h5"])


def test_other_files_and_nothing_left_are_refused(tmp_path, values):
    (tmp_path / "text").write_text("step,time\n", encoding="utf-8")
    with pytest.raises(ValueError, match="not a file of recorded properties"):
        read_series(tmp_path / "text")
    write_series(tmp_path / "a.series.h5", values)
    with pytest.raises(ValueError, match="0 records behind the first 1 ps"):
        read_series(tmp_path / "a.series.h5", skip=1.0)
