"""Logs that a resumed run continues without gaps and without doubles."""

import pytest

from tensornet_jax.train.reporting.csv_log import CsvLog, read_rows

COLUMNS = ("step", "loss")


def test_rows_are_on_disk_as_soon_as_they_are_written(tmp_path):
    log = CsvLog(tmp_path / "log.csv", COLUMNS)
    log.append({"step": 1, "loss": 0.1})
    assert read_rows(tmp_path / "log.csv") == [{"step": 1.0, "loss": 0.1}]
    log.append({"loss": 0.2, "step": 2})
    assert [row["step"] for row in read_rows(tmp_path / "log.csv")] == [1.0, 2.0]
    assert log.num_rows == 2


def test_rows_after_the_checkpoint_are_cut_off_a_half_written_one_too(tmp_path):
    path = tmp_path / "log.csv"
    log = CsvLog(path, COLUMNS)
    for step in range(5):
        log.append({"step": step, "loss": 1.5})
    path.write_text(path.read_text() + "5,0.")
    log = CsvLog(path, COLUMNS, keep=3)
    log.append({"step": 3, "loss": 2.5})
    rows = read_rows(path)
    assert [row["step"] for row in rows] == [0.0, 1.0, 2.0, 3.0]
    assert rows[3]["loss"] == 2.5


def test_nothing_kept_means_a_new_file(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("other,columns\n1,2\n")
    CsvLog(path, COLUMNS)
    assert read_rows(path) == []


def test_a_log_with_fewer_rows_or_other_columns_is_refused(tmp_path):
    path = tmp_path / "log.csv"
    CsvLog(path, COLUMNS).append({"step": 1, "loss": 1.0})
    with pytest.raises(ValueError, match="1 rows, but the checkpoint knows of 2"):
        CsvLog(path, COLUMNS, keep=2)
    with pytest.raises(ValueError, match="other columns"):
        CsvLog(path, ("step", "error"), keep=1)


def test_a_row_with_other_keys_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"log\.csv"):
        CsvLog(tmp_path / "log.csv", COLUMNS).append({"step": 1, "error": 1.0})
