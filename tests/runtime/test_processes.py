"""How processes find each other; what they do together is tested in `tests/train/devices`."""

import numpy as np
import pytest

from tensornet_jax.runtime.processes import (
    Launch,
    ProcessesError,
    check_same,
    end_process,
    from_first,
    join_processes,
    launched_by,
)

SLURM = {
    "SLURM_JOB_ID": "8675309",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}
STEP = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NODELIST": "gpu[012-013]"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "3",
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        # A batch script of a job for eight tasks is one process.
        (SLURM, None),
        (SLURM | STEP | {"SLURM_STEP_NUM_TASKS": "1"}, None),
        (
            SLURM | STEP | {"SLURM_STEP_TASKS_PER_NODE": "4(x2)"},
            Launch("gpu012:65517", 8, 5, 1),
        ),
        # One process of each machine takes all of its devices.
        (
            SLURM | STEP | {"SLURM_STEP_TASKS_PER_NODE": "1(x8)"},
            Launch("gpu012:65517", 8, 5, None),
        ),
        # --gpus-per-task shows each process its own only.
        (
            SLURM | STEP | {"SLURM_STEP_TASKS_PER_NODE": "4(x2)", "CUDA_VISIBLE_DEVICES": "0"},
            Launch("gpu012:65517", 8, 5, None),
        ),
        (
            SLURM | STEP | {"SLURM_STEP_NODELIST": "login1,gpu7"},
            Launch("login1:65517", 8, 5, None),
        ),
        (OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "1"}, None),
        # Open MPI 4 and 5.
        (
            OPEN_MPI | {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.1.0.1:34911"},
            Launch("10.96.0.1:62624", 4, 3, 3),
        ),
        (
            OPEN_MPI | {"PMIX_NAMESPACE": "prterun-node1-4321@1"},
            Launch("localhost:65387", 4, 3, 3),
        ),
    ],
)
def test_launchers_say_where_the_others_are(environment, expected):
    assert launched_by(environment) == expected


def test_a_launcher_that_says_too_little_is_told_what_to_give():
    environment = OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
    with pytest.raises(ProcessesError, match="--process-id \\$OMPI_COMM_WORLD_RANK"):
        launched_by(environment)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("here:1234", None, None), "belong together"),
        ((None, 2, 0), "belong together"),
        (("here:1234", 2, 2), "numbers go from 0 to N − 1"),
        (("here", 2, 1), "the coordinator is HOST:PORT"),
    ],
)
def test_incomplete_or_impossible_options_are_errors(given, told):
    with pytest.raises(ProcessesError, match=told):
        join_processes(*given)


def test_one_process_joins_nobody(monkeypatch):
    for name, value in (SLURM | STEP).items():
        monkeypatch.setenv(name, value)
    assert join_processes(processes=1) == 1
    tree = {"x": np.arange(3)}
    assert from_first(tree) is tree
    check_same("data", [1, 2])
    with pytest.raises(SystemExit):
        end_process(3)
