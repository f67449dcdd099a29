"""One structure after another on the device, whose list and program are kept in between."""

from time import perf_counter

import ase
import jax.numpy as jnp
import numpy as np
from jax import Array

from tensornet_jax.calculator.neighborhood import Neighborhood
from tensornet_jax.graph.atom_graph import COARSE, FINE, batch_structures, to_device
from tensornet_jax.graph.capacity_ladder import CapacityLadder, fitting, is_wasteful
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.prediction import Outputs
from tensornet_jax.potential.programs import Program, program_of
from tensornet_jax.potential.results import Results, unbatched

# Pairs and edge slots a list may gain before the arrays have to grow and the model to compile.
HEADROOM = 1.2
# Evaluations of one set of atoms after which it is worth to compile for arrays that hardly waste
# anything, if they took so many times as long as compiling.
LONG_RUN, WORTH_COMPILING = 500, 10.0
# Of those arrays: what is outgrown goes back to the former ones.
HEADROOM_OF_LONG_RUN, WASTE_OF_LONG_RUN = 1.05, 1.1


class Evaluator:
    """Evaluates structures with one potential.

    neighborhood: the list of the last structure; None before the first, and after an error.
    program: the compiled function; None before the first structure.
    num_rebuilds: how often a list was made.
    num_compiles: programs that had to be compiled; others of the same model may have done the rest.
    """

    def __init__(
        self, num_rebuilds: int = 0, num_compiles: int = 0, *, long_run: bool = False
    ) -> None:
        """Begin without a list.

        Args:
            num_rebuilds: count on from this.
            num_compiles: the same.
            long_run: let arrays fit the first structure, of which many of the same atoms follow.
        """
        self._room = (HEADROOM_OF_LONG_RUN, FINE) if long_run else (HEADROOM, COARSE)
        self.neighborhood: Neighborhood | None = None
        self.program: Program | None = None
        self.num_rebuilds = num_rebuilds
        self.num_compiles = num_compiles
        self._scale: Array | None = None
        self._run_length, self._run_seconds = 0, 0.0

    def __call__(
        self, potential: Potential, atoms: ase.Atoms, compute: tuple[str, ...], skin: float
    ) -> Results:
        """Return the results of one structure, its dipole about the origin of its positions.

        Args:
            potential: the same in all calls.
            atoms: the structure; must not be changed afterwards.
            compute: properties, see `predict`.
            skin: Å the next list is to reach beyond the cutoff.
        """
        if self.program is None:
            self.program = program_of(potential.module)
        neighborhood = self.neighborhood_of(potential, atoms, skin)
        begun, compiled = perf_counter(), self.num_compiles
        outputs = self._run(self.program, potential, neighborhood, atoms, compute)
        (found,) = unbatched(outputs, [len(atoms)], potential.per_atom)
        if self.num_compiles > compiled:
            self.program.seconds_to_compile = perf_counter() - begun
        else:
            self._run_seconds += perf_counter() - begun
        # Of the positions as they are given: the graph's are folded into the cell.
        return potential.assembly.of_structure(
            found, neighborhood.charge, atoms.positions, neighborhood.reference_energies
        )

    def neighborhood_of(self, potential: Potential, atoms: ase.Atoms, skin: float) -> Neighborhood:
        """Return the list of one structure, the last one as long as it holds.

        Args:
            potential: the same in all calls.
            atoms: the structure; must not be changed afterwards.
            skin: Å the next list is to reach beyond the cutoff.
        """
        neighborhood = self.neighborhood
        if (
            neighborhood is None
            or self._should_fit(potential)
            or not neighborhood.covers(atoms, potential.list_cutoff)
        ):
            neighborhood = self._rebuild(
                potential, atoms, program_of(potential.module).ladder, skin
            )
        self._run_length += 1
        return neighborhood

    def _should_fit(self, potential: Potential) -> bool:
        """Tell whether so much has been computed since arrays were fitted that others may pay."""
        compiling = program_of(potential.module).seconds_to_compile
        return self._run_length >= LONG_RUN and self._run_seconds >= WORTH_COMPILING * compiling

    def _run(
        self,
        program: Program,
        potential: Potential,
        neighborhood: Neighborhood,
        atoms: ase.Atoms,
        compute: tuple[str, ...],
    ) -> Outputs:
        cell = atoms.cell.array
        padded = np.zeros(neighborhood.graph.positions.shape, potential.dtype)
        padded[: len(atoms)] = neighborhood.local_positions(atoms.positions, cell)
        same = cell.tobytes() == neighborhood.atoms.cell.array.tobytes()
        before = program.num_compiles
        with potential.precision():
            if self._scale is None:
                self._scale = jnp.asarray(potential.energy_scale, potential.dtype)
            outputs = program(
                potential.variables,
                neighborhood.graph,
                padded,
                neighborhood.device_cell if same else cell.astype(potential.dtype),
                self._scale,
                compute,
            )
        self.num_compiles += program.num_compiles - before
        return outputs

    def _rebuild(
        self, potential: Potential, atoms: ase.Atoms, ladder: CapacityLadder, skin: float
    ) -> Neighborhood:
        former, self.neighborhood = self.neighborhood, None
        structure = potential.structure(atoms, skin=skin)
        if former is None or not np.array_equal(former.atoms.numbers, atoms.numbers):
            self._run_length, self._run_seconds = 0, 0.0
        capacity = ladder.choose([structure], *self._room)
        if self._should_fit(potential):
            self._run_seconds = 0.0
            needed = fitting([structure], HEADROOM_OF_LONG_RUN)
            if is_wasteful(capacity, needed, WASTE_OF_LONG_RUN):
                capacity = ladder.fit([structure], HEADROOM_OF_LONG_RUN)
        with potential.precision():
            graph = to_device(batch_structures([structure], capacity, potential.dtype))
        self.neighborhood = Neighborhood.around(
            atoms, structure, graph, potential.reference_energies(structure), skin
        )
        self.num_rebuilds += 1
        return self.neighborhood
