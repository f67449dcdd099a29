"""The forces of a potential in LAMMPS, through `fix external` and its Python module.

LAMMPS divides space over its processes. Each gives this module its own atoms and ghosts, images of
atoms as far as the potential looks; the energies of the own atoms, evaluated by `potential.parts`,
give forces on these and on atoms of other processes, which are sent to their owners. Of the images
of an atom one is evaluated, and none of an atom of one's own.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from tensornet_jax.interop.lammps.atoms import AtomReader, Atoms, AtomTypes
from tensornet_jax.interop.lammps.deviations import FixVector, check_deviations
from tensornet_jax.interop.lammps.ghosts import domain_of, ghosts_within
from tensornet_jax.interop.lammps.processes import (
    GhostRows,
    Lammps,
    MPIProcesses,
    OneProcess,
    Processes,
)
from tensornet_jax.interop.lammps.types import ENERGY_UNITS
from tensornet_jax.potential.part_deviations import PartDeviations
from tensornet_jax.potential.parts import PartEvaluator, PartResults
from tensornet_jax.potential.potential import Potential

FIX = "tensornet"
"""Name of the fix."""


class LammpsError(RuntimeError):
    """A run of LAMMPS was ended because its forces could not be computed."""


Stop: TypeAlias = Callable[["LammpsError"], None]
"""What ends a run on this process."""


def attach(
    lmp: Lammps,
    potential: Potential,
    types: Sequence[str | None],
    *,
    charge: float = 0.0,
    skin: float = 2.0,
    per_atom: bool = False,
    deviations_every: int | None = None,
    fix: str = FIX,
    stop: Stop | None = None,
) -> "AttachedPotential":
    """Make a potential the forces on all atoms of a LAMMPS instance.

    The simulation box has to exist, in units metal or real. It defines `fix … external`, and sets
    `neighbor` and `comm_modify cutoff`, so that ghosts reach as far as the potential looks. Energy
    and virial count in thermodynamic output and so on. Under `mpiexec` every process calls it.

    An error while forces are computed ends the run on all processes. The instance's `command`,
    `commands_list`, `commands_string` and `file` then raise `LammpsError`.

    Args:
        lmp: a `lammps.lammps`.
        potential: whose energies of atoms depend on what lies around them.
        types: chemical symbol of each atom type, in order; None for a type without atoms.
        charge: total charge of the box, e.
        skin: Å, of LAMMPS's neighbor lists; ghosts reach so much farther than the potential. One
            process alone needs no ghosts, and has those within the skin.
        per_atom: give `compute pe/atom … fix` and `compute stress/atom … fix` their values, at
            additional cost.
        deviations_every: steps between two evaluations of standard deviations, which are the vector
            of the fix: [1] of the energy, [2] the largest of an atom's force. None for never.
        fix: name of the fix.
        stop: called in place of raising, on every process, while LAMMPS still runs.

    Raises:
        ValueError: units other than metal and real, the wrong number of types, an element that the
            potential does not know, a potential that depends on all atoms at once, or deviations of
            one that has none.
        ImportError: mpi4py is missing, and there are several processes.
    """
    unit, named = _energy_unit(lmp), AtomTypes.of(lmp, potential, types)
    check_deviations(potential, deviations_every)
    attached = AttachedPotential(
        lmp,
        PartEvaluator(potential, charge=charge),
        named,
        processes=_processes(lmp),
        unit=unit,
        per_atom=per_atom,
        fix=fix,
        stop=stop,
    )
    _define(lmp, fix, skin, skin if attached.is_alone else attached.reach + skin)
    if deviations_every is not None:
        attached.vector = FixVector(lmp, fix, potential, every=deviations_every, unit=unit)
    lmp.set_fix_external_callback(fix, attached.compute, lmp)
    if stop is None:
        _raise_afterwards(lmp, attached)
    return attached


def _define(lmp: Lammps, fix: str, skin: float, ghosts: float) -> None:
    """Define the fix, and let ghosts reach far enough."""
    lmp.command(f"neighbor {skin} bin")
    lmp.command(f"comm_modify cutoff {ghosts}")
    lmp.command(f"fix {fix} all external pf/callback 1 1")
    lmp.command(f"fix_modify {fix} energy yes virial yes")


class AttachedPotential:
    """A potential that computes the forces of a LAMMPS instance; made by `attach`.

    Attributes:
        error: what ended the last run; None if nothing did.
        reach: how far the potential looks, Å.
        vector: of the fix, with standard deviations; None where there is none.
    """

    def __init__(
        self,
        lmp: Lammps,
        evaluator: PartEvaluator,
        types: "AtomTypes",
        *,
        processes: Processes,
        unit: float,
        per_atom: bool,
        fix: str,
        stop: Stop | None,
    ) -> None:
        self.error: LammpsError | None = None
        self.vector: FixVector | None = None
        self.reach = evaluator.reach.distance
        self._lmp, self._evaluator, self._types = lmp, evaluator, types
        self._processes, self._unit, self._per_atom = processes, unit, per_atom
        self._reader = AtomReader(lmp, alone=self.is_alone)
        self._fix, self._stop = fix, stop
        self._before: Atoms | None = None
        self._step: int | None = None
        self._listed: object = None
        self._ghosts: GhostRows | None = None

    def compute(
        self,
        lmp: Lammps,
        step: int,
        num_owned: int,
        tags: Int[np.ndarray, " owned"],
        positions: Float[np.ndarray, "owned 3"],
        forces: Float[np.ndarray, "owned 3"],
    ) -> None:
        """Fill in the forces, in LAMMPS's units; it calls this at every step, on all processes."""
        forces[:] = 0
        results, deviations, problem = self._tried(step)
        told = np.zeros(9)
        if results is None:
            told[0] = 1
        else:
            told[1] = self._ghosts is None or self._evaluator.lists is not self._listed
            told[2], told[3:] = results.energies.sum(), _six(results.virial)
        if deviations is not None:
            told = np.concatenate([told, deviations.energy])
        failed, renewed, energy, *rest = self._processes.sum(told)
        virial, sure = rest[:6], np.array(rest[6:])
        if failed or results is None:
            self._end(step, problem)
            return
        if renewed:
            problem = self._renew(starts=step == self._step or self._step is None)
            if problem is not None:
                self._end(step, problem)
                return
        self._step = step
        assert self._ghosts is not None
        values = results.forces
        if results.virials is not None:
            values = np.concatenate([values, _six(results.virials)], axis=1)
        plain = values.shape[1]
        if deviations is not None:
            flat = deviations.forces.reshape(len(values), -1)
            values = np.concatenate([values, flat], axis=1)
        own = values[:num_owned].copy()
        self._ghosts.to_owners(values[self._sent], own)
        forces[:] = own[:, :3] / self._unit
        if self.vector is not None and deviations is not None:
            self.vector.set(sure, own[:, plain:].reshape(num_owned, 3, -1), self._processes)
        self._tell(results, energy, virial, own[:, 3:plain])

    def _tell(
        self,
        results: PartResults,
        energy: float,
        virial: Sequence[float],
        virials: Float[np.ndarray, "owned six"],
    ) -> None:
        """Set energy and virial, and those of the atoms."""
        lmp = self._lmp
        offset = self._evaluator.potential.energy_offset
        lmp.fix_external_set_energy_global(self._fix, float(energy + offset) / self._unit)
        lmp.fix_external_set_virial_global(self._fix, [each / self._unit for each in virial])
        if results.virials is not None:
            share = offset / lmp.get_natoms()
            energies = (results.energies + share) / self._unit
            lmp.fix_external_set_energy_peratom(self._fix, energies.tolist())
            lmp.fix_external_set_virial_peratom(self._fix, (virials / self._unit).tolist())

    @property
    def is_alone(self) -> bool:
        """Whether there is one process, which owns all atoms."""
        return self._lmp.extract_setting("world_size") == 1

    @property
    def _sent(self) -> Int[np.ndarray, " ghosts"]:
        """Which of the atoms of the last lists are those of other processes."""
        lists = self._evaluator.lists
        assert lists is not None
        return lists.part.chosen[lists.part.num_owned :]

    def _tried(
        self, step: int
    ) -> tuple[PartResults | None, PartDeviations | None, Exception | None]:
        """Return results, deviations where they are due, and what went wrong."""
        vector = self.vector if self.vector is not None and self.vector.is_due(step) else None
        deviations = None if vector is None else vector.none()
        try:
            atoms = self._reader.read()
            results = self._evaluate(atoms)
            if vector is not None:
                deviations = self._evaluator.deviations(atoms.positions, atoms.lattice)
        # Whatever it is, the other processes wait for this one, and LAMMPS would not see it.
        except Exception as error:
            return None, deviations, error
        return results, deviations, None

    def _evaluate(self, atoms: Atoms) -> PartResults:
        before, self._before = self._before, atoms
        same = before is not None and before.are(atoms)
        species = self._types.species_of(atoms)
        return self._evaluator.evaluate(
            atoms.positions,
            species,
            atoms.num_owned,
            same=same,
            lattice=atoms.lattice,
            virials=self._per_atom,
        )

    def _renew(self, *, starts: bool) -> Exception | None:
        """Find the owners of ghosts anew; return on all processes what is wrong, if anything is."""
        self._listed, atoms = self._evaluator.lists, self._before
        assert atoms is not None
        owned, processes = atoms.tags[: atoms.num_owned], self._processes
        self._ghosts = processes.owners_of(owned, atoms.tags[self._sent])
        if self.is_alone or not starts:
            return None
        places, ghosts = atoms.positions[: atoms.num_owned], self._reader.num_ghosts
        needed = ghosts_within(self.reach, domain_of(self._lmp), places, processes)
        there, lost = processes.sum(np.array([ghosts, len(self._ghosts.missing)], float))
        if there >= needed and not lost:
            return None
        return ValueError(
            f"LAMMPS has {there:.0f} ghost atoms where {needed} are needed: the potential looks "
            f"{self.reach:g} Å far, and ghosts have to reach as far and a skin farther. Leave "
            f"comm_modify as it is, or set comm_modify mode single cutoff {self.reach + 2:g}; "
            "leave atom ids on"
        )

    def _end(self, step: int, problem: Exception | None) -> None:
        """End the run on all processes."""
        reason = "another process could not compute its forces"
        self.error = LammpsError(f"step {step}: {reason if problem is None else problem}")
        self.error.__cause__ = problem
        if self._stop is not None:
            self._stop(self.error)
        self._lmp.force_timeout()


def _energy_unit(lmp: Lammps) -> float:
    units = lmp.extract_global("units")
    if units not in ENERGY_UNITS:
        raise ValueError(
            f"LAMMPS runs in units {units}, and the potential is in eV and Å: start the input with "
            "units metal, or units real"
        )
    return ENERGY_UNITS[units]


def _processes(lmp: Lammps) -> Processes:
    if lmp.extract_setting("world_size") == 1:
        return OneProcess()
    if not lmp.has_mpi4py:
        raise ImportError("several processes of LAMMPS need mpi4py: pip install mpi4py")
    return MPIProcesses(lmp.get_mpi_comm())


def _six(virial: Float[np.ndarray, "*rows 3 3"]) -> Float[np.ndarray, "*rows 6"]:
    """Return xx, yy, zz, xy, xz, yz, as LAMMPS orders them."""
    symmetric = 0.5 * (virial + np.swapaxes(virial, -1, -2))
    return symmetric[..., (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)]


def _raise_afterwards(lmp: Lammps, attached: AttachedPotential) -> None:
    """Let the methods of an instance that run LAMMPS raise what ended a run."""

    def wrapped(method: Callable[..., object]) -> Callable[..., object]:
        @wraps(method)
        def run(*arguments: object, **named: object) -> object:
            attached.error = None
            result = method(*arguments, **named)
            if attached.error is not None:
                raise attached.error
            return result

        return run

    for name in ("command", "commands_list", "commands_string", "file"):
        setattr(lmp, name, wrapped(getattr(lmp, name)))
