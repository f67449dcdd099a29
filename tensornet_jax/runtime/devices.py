"""The devices that share a computation: one program on all of them, in one process or several.

Each device works on its own shard of a batch as if it were alone. What is trained lies whole on
every one of them (data parallelism), and sums over shards are all that they exchange.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

AXIS = "devices"
TreeT = TypeVar("TreeT")


class Device(Protocol):
    """What is used of JAX's devices here."""

    @property
    def process_index(self) -> int:
        """The process that it belongs to."""
        ...


class DevicesError(ValueError):
    """Devices that are asked for and not there; the text says what to do."""


@dataclass(frozen=True)
class Devices:
    """Devices of all processes, in the order of their shards; each process has equally many.

    Attributes:
        devices: those; none stands for the one that JAX uses by default.
    """

    devices: tuple[Device, ...] = ()

    @classmethod
    def of(cls, wanted: int | Literal["all"]) -> "Devices":
        """Return so many devices of all processes.

        Raises:
            DevicesError: there are fewer, or each process would not get equally many.
        """
        num_processes = jax.process_count()
        groups = [jax.local_devices(process_index=k) for k in range(num_processes)]
        there = num_processes * min(map(len, groups))
        number = there if wanted == "all" else wanted
        if number > there:
            simulated = " (XLA_FLAGS=--xla_force_host_platform_device_count=N simulates N of them)"
            raise DevicesError(
                f"{number} devices are asked for, and there are {there} of kind "
                f"{groups[0][0].device_kind}{simulated if groups[0][0].platform == 'cpu' else ''}: "
                "ask for fewer, or for all"
            )
        if number % num_processes:
            raise DevicesError(
                f"{number} devices cannot be divided over {num_processes} processes: ask for a "
                "multiple of their number, or for all"
            )
        if number == 1:
            return cls()
        each = number // num_processes
        return cls(tuple(device for group in groups for device in group[:each]))

    @property
    def count(self) -> int:
        """How many there are."""
        return max(len(self.devices), 1)

    @cached_property
    def own(self) -> tuple[int, ...]:
        """The shards that this process makes."""
        if not self.devices:
            return (0,)
        here = jax.process_index()
        return tuple(k for k, each in enumerate(self.devices) if each.process_index == here)

    @property
    def kind(self) -> str:
        """What computes, e.g. "4 × NVIDIA H100"."""
        kind = jax.devices()[0].device_kind
        return kind if self.count == 1 else f"{self.count} × {kind}"

    @cached_property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), (AXIS,))

    def total(self, tree: TreeT) -> TreeT:
        """Within a compiled function: sum over all devices."""
        return tree if self.count == 1 else jax.lax.psum(tree, AXIS)

    def compiled(
        self,
        function: Callable[..., TreeT],
        divided: Sequence[bool],
        *,
        returns_shards: bool = False,
        donate: tuple[int, ...] = (),
    ) -> Callable[..., TreeT]:
        """Return a function compiled for all devices, each of which runs it on its own shard.

        For one device this is `jax.jit`.

        Args:
            function: of whole arguments and of single shards.
            divided: which arguments are shards, as `shards` makes them; others are alike everywhere
                (`everywhere`).
            returns_shards: whether it returns what belongs to its shard. Every process then gets
                all shards, stacked along a first axis. Otherwise what it returns must be the same
                on all devices.
            donate: arguments whose memory may be used for what is returned.
        """
        if self.count == 1:
            return jax.jit(function, donate_argnums=donate)
        several = jax.process_count() > 1

        def on_each(*arguments: PyTree) -> TreeT:
            own = [
                jax.tree.map(lambda leaf: leaf[0], argument) if shard else argument
                for argument, shard in zip(arguments, divided, strict=True)
            ]
            found = function(*own)
            if not returns_shards:
                return found
            if several:
                # A process cannot read what lies on the devices of another.
                return jax.lax.all_gather(found, AXIS)
            return jax.tree.map(lambda leaf: leaf[None], found)

        along = PartitionSpec(AXIS)
        mapped = jax.shard_map(
            on_each,
            mesh=self._mesh,
            in_specs=tuple(along if shard else PartitionSpec() for shard in divided),
            out_specs=along if returns_shards and not several else PartitionSpec(),
            # Derivatives are taken on each device by itself, outside of all sums over devices.
            check_vma=False,
        )
        return jax.jit(mapped, donate_argnums=donate)

    def everywhere(self, tree: TreeT) -> TreeT:
        """Put arrays whole on every device; each process gives the same."""
        if self.count == 1:
            return tree
        return self._placed(tree, PartitionSpec())

    def shards(self, trees: Sequence[TreeT]) -> TreeT:
        """Put shards of equal shapes on the devices, given those of `own` in this order."""
        if self.count == 1:
            return trees[0]
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
        return self._placed(stacked, PartitionSpec(AXIS))

    def separate(self, outputs: TreeT) -> list[TreeT]:
        """Return the shards of what a compiled function that returns shards has returned."""
        if self.count == 1:
            return [outputs]
        return [jax.tree.map(lambda leaf, k=k: leaf[k], outputs) for k in range(self.count)]

    def _placed(self, tree: TreeT, spec: PartitionSpec) -> TreeT:
        sharding = NamedSharding(self._mesh, spec)

        def placed(leaf: jax.Array | np.ndarray) -> jax.Array:
            array = np.asarray(leaf)
            shape = (self.count, *array.shape[1:]) if len(spec) else array.shape
            return jax.make_array_from_process_local_data(sharding, array, shape)

        return jax.tree.map(placed, tree)


ONE_DEVICE = Devices()
