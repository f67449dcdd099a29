"""Properties recorded along a simulation: arrays that fill on the device and the host empties.

What a model predicts besides energy comes out of the same evaluation as the forces, so a record
costs a read-out and no second pass through the network, and needs no neighbor list of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ase
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float, Int, Int32, Shaped

from tensornet_jax.md.blocks import in_blocks
from tensornet_jax.md.config import Record
from tensornet_jax.potential.heat_flux import check_flux
from tensornet_jax.potential.potential import ENERGY_PROPERTIES, Potential
from tensornet_jax.properties import DEVIATIONS, FLUXES

# Records on the device before the host takes them over: enough for the transfer to cost nothing,
# and fewer where each is large.
MOST_ROWS = 500
MOST_BYTES = 1 << 25


class Recording(NamedTuple):
    """What is recorded; fixed when the loop is compiled.

    names: properties of the model; heat fluxes are not among them, see `flux_records`.
    interval: steps between two records; step 0 is the first.
    """

    names: tuple[str, ...]
    interval: int

    @classmethod
    def of(cls, record: Record) -> "Recording":
        """Return what of a section of the configuration the loop records."""
        names = tuple(name for name in record.properties if name not in FLUXES)
        return cls(names, record.interval)

    @property
    def on_request(self) -> tuple[str, ...]:
        """Those that cost more than forces, and are computed only where they are recorded."""
        return tuple(name for name in self.names if name in DEVIATIONS)

    @property
    def at_hand(self) -> tuple[str, ...]:
        """Those that every evaluation of forces gives."""
        return tuple(name for name in self.names if name not in DEVIATIONS)


class Buffer(NamedTuple):
    """Records on the device, rows of which the first `filled` are.

    temperature: K.
    volume: Å³; 0 where there is none.
    values: properties of structures or of atoms by name.
    """

    filled: Int32[Array, ""]
    step: Int32[Array, " rows"]
    temperature: Float[Array, "rows structures"]
    volume: Float[Array, "rows structures"]
    values: dict[str, Float[Array, "rows ..."]]

    @classmethod
    def empty(
        cls,
        temperature: Float[Array, " structures"],
        values: Mapping[str, jax.ShapeDtypeStruct],
        most: int = MOST_ROWS,
    ) -> "Buffer":
        """Return room for rows like these arrays, of which only shapes and dtypes count.

        Args:
            temperature: like a row of temperatures and of volumes.
            values: like a row of each property, by name.
            most: rows there are at most.
        """
        widest = sum(value.size * value.dtype.itemsize for value in values.values())
        rows = max(1, min(most, MOST_BYTES // max(widest, 1)))

        def room(like: Array | jax.ShapeDtypeStruct) -> Array:
            return jnp.zeros((rows, *like.shape), like.dtype)

        return cls(
            jnp.int32(0),
            jnp.zeros(rows, jnp.int32),
            room(temperature),
            room(temperature),
            {name: room(value) for name, value in values.items()},
        )

    @property
    def full(self) -> Bool[Array, ""]:
        """Whether there is no room for another row."""
        return self.filled >= len(self.step)

    def appended(
        self,
        due: Bool[Array, ""],
        step: Int32[Array, ""],
        temperature: Float[Array, " structures"],
        volume: Float[Array, " structures"],
        values: Mapping[str, Float[Array, "..."]],
    ) -> "Buffer":
        """Return the buffer with one more row if it is due, else as it is."""
        put = self._written_in_place(due) if in_blocks() else self._scattered(due)
        return Buffer(
            self.filled + due.astype(jnp.int32),
            put(self.step, step),
            put(self.temperature, temperature),
            put(self.volume, volume),
            {name: put(rows, values[name]) for name, rows in self.values.items()},
        )

    def _scattered(self, due: Bool[Array, ""]) -> Callable[[Array, Array], Array]:
        # A row outside the array is not written.
        row = jnp.where(due, self.filled, len(self.step))
        return lambda rows, value: rows.at[row].set(value, mode="drop")

    def _written_in_place(self, due: Bool[Array, ""]) -> Callable[[Array, Array], Array]:
        row = jnp.minimum(self.filled, len(self.step) - 1)

        def put(rows: Array, value: Array) -> Array:
            value = jnp.where(due, value, lax.dynamic_index_in_dim(rows, row, keepdims=False))
            return lax.dynamic_update_index_in_dim(rows, value, row, 0)

        return put


@dataclass(frozen=True)
class Records:
    """Records on the host.

    time: fs.
    temperature: K.
    volume: Å³; 0 where there is none.
    values: by name; (times, structures, …) for properties of structures, (times, atoms, …) for
        those of atoms, with all structures one after the other.
    per_atom: names of the latter.
    units: of the properties by name, "" where the model does not say.
    """

    step: Int[np.ndarray, " times"]
    time: Float[np.ndarray, " times"]
    temperature: Float[np.ndarray, "times structures"]
    volume: Float[np.ndarray, "times structures"]
    values: dict[str, Float[np.ndarray, "times ..."]]
    per_atom: frozenset[str]
    units: dict[str, str]

    def of(self, index: int, atoms: slice) -> dict[str, Float[np.ndarray, "times ..."]]:
        """Return temperature, volume and properties of one structure.

        Args:
            index: of the structure.
            atoms: its rows in the arrays of atoms.
        """
        values = {
            name: rows[:, atoms if name in self.per_atom else index]
            for name, rows in self.values.items()
        }
        return {
            "temperature": self.temperature[:, index],
            "volume": self.volume[:, index],
            **values,
        }


def records_of(
    buffers: Sequence[Buffer],
    potential: Potential,
    timestep: float,
    num_atoms: int,
    fluxes: Mapping[str, Float[np.ndarray, "times structures 3"]],
) -> Records | None:
    """Return what buffers hold one after the other, or None if there are none.

    Args:
        buffers: on the host.
        potential: the model.
        timestep: fs.
        num_atoms: rows of atoms that are not padding.
        fluxes: noted at the same steps by `FluxRecords`.
    """
    if not buffers:
        return None
    names = tuple(buffers[0].values)
    per_atom = potential.per_atom & frozenset(names)

    def joined(rows_of: Callable[[Buffer], Shaped[Array, "rows ..."]]) -> np.ndarray:
        return np.concatenate([rows_of(each)[: int(each.filled)] for each in buffers])

    step = joined(lambda each: each.step)
    values = {name: joined(lambda each, name=name: each.values[name]) for name in names}
    return Records(
        step=step,
        time=step * timestep,
        temperature=joined(lambda each: each.temperature),
        volume=joined(lambda each: each.volume),
        values={
            name: rows[:, :num_atoms] if name in per_atom else rows for name, rows in values.items()
        }
        | dict(fluxes),
        per_atom=per_atom,
        units=recorded_units(potential, (*names, *fluxes)),
    )


def recorded_units(potential: Potential, names: Sequence[str]) -> dict[str, str]:
    """Return the units of properties by name; "" where the model does not say."""
    rows = {**potential.rows, **FLUXES}
    return {name: rows[name].unit for name in names}


def check_recorded(
    potential: Potential,
    names: Sequence[str],
    structures: Sequence[ase.Atoms],
    purpose: str = "to record",
) -> None:
    """Raise ValueError unless a model predicts properties and structures have them.

    Args:
        potential: the model.
        names: properties.
        structures: of the simulation.
        purpose: what they are for, as messages say it.
    """
    rows = potential.rows.values()
    possible = {r.name: r for r in rows if r.name not in ENERGY_PROPERTIES and not r.costly}
    fluxes = [name for name in names if name in FLUXES]
    if fluxes:
        check_flux(potential, fluxes[0])
    names = [name for name in names if name not in fluxes]
    for name in names:
        if name in ENERGY_PROPERTIES:
            raise ValueError(
                f"{name} cannot be recorded: log and trajectory have energies, forces and stress"
            )
        if name not in possible:
            has = ", ".join(possible) or "nothing besides energy and forces"
            remedy = ": give it an uncertainty with tensornet-jax uncertainty"
            remedy = remedy if name in DEVIATIONS else f"; it predicts {has}"
            raise ValueError(f"this model has no {name!r} {purpose}{remedy}")
    for index, atoms in enumerate(structures):
        has_volume = abs(np.linalg.det(atoms.cell.array)) > 0
        for name in names:
            why_not = possible[name].why_not(periodic=bool(atoms.pbc.any()), has_volume=has_volume)
            if why_not is not None:
                raise ValueError(f"structure {index}: {why_not}: do not ask for it")
