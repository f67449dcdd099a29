"""Several processes that share one computation, over JAX's own distributed runtime.

Every process runs the same program in step with the others. What each could only decide by itself
is taken from the first one here, or summed within a step that they take anyway.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

# Seconds without a sign of life after which a process counts as lost.
HEARTBEAT = 30
# Seconds that processes wait for each other at the beginning, and at the end.
START, SHUTDOWN = 300, 30
# The highest ports: one of these is chosen by the number of the job.
NUM_PORTS = 2**12

TreeT = TypeVar("TreeT")


class ProcessesError(ValueError):
    """Processes that cannot find each other; the text says what to do."""


class LostProcessError(RuntimeError):
    """A computation that all processes share has failed, as it does when one of them has ended."""


@dataclass(frozen=True)
class Launch:
    """How a process finds the others of its run.

    Attributes:
        coordinator: address and port at which the first process is found, HOST:PORT.
        processes: their number.
        process_id: of this one, from 0.
        local_device: the device of its machine that is its own; None for all that it sees.
    """

    coordinator: str
    processes: int
    process_id: int
    local_device: int | None = None


def join_processes(
    coordinator: str | None = None, processes: int | None = None, process_id: int | None = None
) -> int:
    """Join the other processes of a run, if there are any; JAX must not have computed before.

    Where nothing is given they are found from what SLURM (srun) or Open MPI (mpirun) say.

    Args:
        coordinator: address and port at which the first process is found, HOST:PORT.
        processes: their number; 1 joins nobody, whatever started this process.
        process_id: of this one, from 0.

    Returns:
        the number of processes.

    Raises:
        ProcessesError: not enough is known, or the others do not come.
    """
    if processes == 1:
        return 1
    if coordinator is None and processes is None and process_id is None:
        launch = launched_by(os.environ)
        if launch is None:
            return 1
    elif coordinator is None or processes is None or process_id is None:
        raise ProcessesError(
            "--coordinator HOST:PORT, --processes N and --process-id K belong together: give all "
            "three, the same HOST:PORT and N to every process, and K from 0 to N − 1"
        )
    else:
        launch = Launch(coordinator, processes, process_id)
    if not re.fullmatch(r".+:\d+", launch.coordinator) or not (
        0 <= launch.process_id < launch.processes
    ):
        raise ProcessesError(
            f"process {launch.process_id} of {launch.processes} at {launch.coordinator}: numbers "
            "go from 0 to N − 1, and the coordinator is HOST:PORT"
        )
    _meet(launch)
    return launch.processes


def _meet(launch: Launch) -> None:
    """Start JAX's distributed runtime, in which all processes of a launch find each other."""
    # It would catch the SIGTERM with which a scheduler asks a run to stop.
    if "jax_enable_preemption_service" in jax.config.values:
        jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            launch.coordinator,
            launch.processes,
            launch.process_id,
            None if launch.local_device is None else [launch.local_device],
            # What is found here allows several devices to a process, which JAX's own does not.
            cluster_detection_method="deactivate",
            initialization_timeout=START,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=SHUTDOWN,
        )
    except RuntimeError as error:
        raise ProcessesError(
            f"process {launch.process_id} of {launch.processes} could not join the others at "
            f"{launch.coordinator} ({_first_line(error)}): check that all were started, that they "
            "can reach this address, and that its port is free"
        ) from error


def launched_by(environment: Mapping[str, str]) -> Launch | None:
    """Return what SLURM or Open MPI say of the processes; None where they started one or none.

    Raises:
        ProcessesError: Open MPI does not say where the first process is.
    """
    # Of the step, not the job: a batch script of a job for many tasks is one process itself.
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        local = environment.get("SLURM_STEP_TASKS_PER_NODE", "1")
        host = _first_host(environment["SLURM_STEP_NODELIST"])
        return Launch(
            f"{host}:{_port(int(environment['SLURM_JOB_ID']))}",
            int(environment["SLURM_STEP_NUM_TASKS"]),
            int(environment["SLURM_PROCID"]),
            _own_device(environment, local != "1" and not local.startswith("1("), "SLURM_LOCALID"),
        )
    size = int(environment.get("OMPI_COMM_WORLD_SIZE", 1))
    if size == 1:
        return None
    local_size = int(environment.get("OMPI_COMM_WORLD_LOCAL_SIZE", 1))
    # Written by Open MPI up to 4: JOBID.0;tcp://ADDRESS,ADDRESS:PORT
    uri = environment.get("OMPI_MCA_orte_hnp_uri", "")
    found = re.match(r"(\d+)\..*?(?:tcp://(.+?)[,:]|tcp6://\[(.+?)[,\]])", uri)
    if found is not None:
        host, job = found[2] or f"[{found[3]}]", int(found[1]) // NUM_PORTS
    elif local_size == size:
        job_name = environment.get("PMIX_NAMESPACE", "0")
        host, job = "localhost", int(re.sub(r"\D", "", job_name) or 0)
    else:
        raise ProcessesError(
            "this release of Open MPI does not say where the first process is: give --coordinator "
            "HOST:PORT, --processes $OMPI_COMM_WORLD_SIZE and --process-id $OMPI_COMM_WORLD_RANK"
        )
    return Launch(
        f"{host}:{_port(job)}",
        size,
        int(environment["OMPI_COMM_WORLD_RANK"]),
        _own_device(environment, local_size > 1, "OMPI_COMM_WORLD_LOCAL_RANK"),
    )


def _first_host(nodes: str) -> str:
    """Return the first of a list such as ``node[003-005,7],login1``."""
    found = re.match(r"([^,\[]+)(?:\[([^,\-\]]+))?", nodes)
    return nodes if found is None else found[1] + (found[2] or "")


def _port(job: int) -> int:
    return 2**16 - NUM_PORTS + job % NUM_PORTS


def _own_device(environment: Mapping[str, str], shared: bool, rank: str) -> int | None:
    """The device of one of several processes of a machine, if all of them see all devices."""
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    if not shared or (visible and "," not in visible):
        return None
    return int(environment[rank])


def several_processes() -> bool:
    """Tell whether this process is one of several that compute together."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Tell whether this process writes the files of the run."""
    return jax.process_index() == 0


def bytes_from_first(content: bytes) -> bytes:
    """Return what the first process has given; all have to call this."""
    if not several_processes():
        return content
    (length,) = multihost_utils.broadcast_one_to_all(np.array([len(content)], np.int32))
    packed = np.zeros(int(length), np.uint8)
    if is_first():
        packed = np.frombuffer(content, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(packed), np.uint8).tobytes()


def wait_for_first() -> None:
    """Wait until the first process has come to the same point; all call this."""
    bytes_from_first(b"")


def from_first(tree: TreeT) -> TreeT:
    """Return the first process's values for arrays that every process has; all call this."""
    if not several_processes():
        return tree
    leaves, structure = jax.tree.flatten(tree)
    arrays = [np.asarray(leaf) for leaf in leaves]
    # As bytes, which no setting of JAX's precision changes.
    content = bytes_from_first(b"".join(array.tobytes() for array in arrays))
    received, start = [], 0
    for array in arrays:
        found = np.frombuffer(content, array.dtype, array.size, start)
        received.append(found.reshape(array.shape).copy())
        start += array.nbytes
    return jax.tree.unflatten(structure, received)


def check_same(what: str, value: object) -> None:
    """Raise ProcessesError unless every process has the value of the first; all call this."""
    text = json.dumps(value)
    first = bytes_from_first(text.encode()).decode()
    if not several_processes():
        return
    differing = multihost_utils.process_allgather(np.array([text != first], np.int32))
    strangers = np.flatnonzero(np.ravel(differing)).tolist()
    if strangers:
        raise ProcessesError(
            f"process {', '.join(map(str, strangers))} has other {what} than process 0: see that "
            "all of them read the same files"
        )


@contextmanager
def lost_processes_named(remedy: str) -> Iterator[None]:
    """Say of a failure of JAX in the block that another process has probably ended.

    Raises:
        LostProcessError: in place of JAX's error, with `remedy` at its end.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not several_processes():
            raise
        raise LostProcessError(
            "a computation of all processes failed, most likely because one of them has ended "
            f"({_first_line(error)}): {remedy}"
        ) from error


def end_process(code: int) -> NoReturn:
    """End this process with an exit code; one of several at once, without waiting for the others.

    They notice at their next exchange, or after HEARTBEAT seconds. What is still in buffers of
    output is lost.
    """
    if jax.distributed.is_initialized():
        os._exit(code)
    raise SystemExit(code)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
