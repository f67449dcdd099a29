"""Input scripts of LAMMPS, divided at the line that names a potential."""

import pytest

from tensornet_jax.interop.lammps.script import gpu_of, read_script


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("units metal\nrun 0\n", "has 0 lines like `fix potential all tensornet Si O`"),
        ("fix a all tensornet C\nfix b all tensornet C\n", "has 2 lines"),
        ("fix a all tensornet C O deviations\n", "line 1: write `deviations N` at its end"),
        ("fix a all tensornet C deviations 0\n", "line 1: write `deviations N` at its end"),
        ("units metal\nfix a mobile tensornet C\n", "line 2: the potential is for all atoms"),
    ],
)
def test_a_script_without_one_line_for_the_potential_is_refused(tmp_path, text, message):
    (tmp_path / "in.box").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_script(tmp_path / "in.box")


def test_a_script_is_divided_at_its_line(tmp_path):
    text = "units metal\n# fix no all tensornet C\n  fix p all tensornet C NULL # here\nrun 0\n"
    (tmp_path / "in.box").write_text(text, encoding="utf-8")
    script = read_script(tmp_path / "in.box")
    assert script.head == "units metal\n# fix no all tensornet C\n"
    assert script[1:] == ("p", ("C", None), None, "run 0\n")


def test_deviations_are_asked_for_in_the_line_of_the_potential(tmp_path):
    text = "fix p all tensornet C O deviations 20\nrun 0\n"
    (tmp_path / "in.box").write_text(text, encoding="utf-8")
    assert read_script(tmp_path / "in.box")[1:] == ("p", ("C", "O"), 20, "run 0\n")


@pytest.mark.parametrize(
    ("rank", "visible", "count", "expected"),
    [
        (1, None, 4, "1"),
        (5, None, 4, "1"),
        (0, "2,3", 4, "2"),
        (3, "GPU-a,GPU-b", 8, "GPU-b"),
        (0, "", 4, None),
        (2, None, 0, None),
    ],
)
def test_processes_of_a_host_take_its_gpus_in_turn(rank, visible, count, expected):
    assert gpu_of(rank, visible, count) == expected
