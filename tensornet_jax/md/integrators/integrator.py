"""What every way to take a step has in common."""

from typing import ClassVar, Protocol

from jax import Array
from jaxtyping import Float

from tensornet_jax.md.draws import Draw
from tensornet_jax.md.state import State, System


class Integrator(Protocol):
    """One way to take a step; see `tensornet_jax.md.integrators.verlet.VelocityVerlet`.

    draws: the random numbers that a step uses, for a block of steps to draw them ahead; one that
        is not listed is drawn by each step.
    """

    draws: ClassVar[tuple[Draw, ...]]

    @property
    def needs_stress(self) -> bool:
        """Whether a step needs the stress."""
        ...

    @property
    def changes_cell(self) -> bool:
        """Whether the cell may change."""
        ...

    def start(self, system: System, state: State) -> State:
        """Return the state with the integrator's variables at their start."""
        ...

    def advance(self, system: System, state: State) -> State:
        """Return the state with positions and cell of the next step."""
        ...

    def finish(self, system: System, state: State) -> State:
        """Return the state after the step, given energy, forces and stress at the new positions."""
        ...

    def conserved(self, system: System, state: State) -> Float[Array, " structures"]:
        """Return, in eV, what only the error of the timestep changes."""
        ...
