"""The jitted function of training: one optimization step."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree, Shaped

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.targets import Targets
from tensornet_jax.runtime.devices import ONE_DEVICE, Devices
from tensornet_jax.train.config.run import LossTerm
from tensornet_jax.train.optimization.losses import label_counts, loss_terms, only, weighted_sum
from tensornet_jax.train.optimization.optimizer import EVERYTHING_ALIKE, update_average
from tensornet_jax.train.optimization.parameter_groups import ParameterGroups
from tensornet_jax.train.optimization.state import TrainState

Scalars = dict[str, Shaped[Array, ""]]
Predictions = dict[str, Shaped[Array, "..."]]


class Predictor(Protocol):
    """The part of a Potential that training differentiates."""

    @property
    def variables(self) -> dict[str, PyTree]:
        """params and buffers."""
        ...

    def predict(
        self, variables: dict[str, PyTree], graph: AtomGraph, compute: tuple[str, ...]
    ) -> Predictions:
        """Pure predictions without isolated-atom energies."""
        ...


class TrainStep:
    """One optimization step under jit, which counts how often it was compiled.

    A step whose loss or gradient norm is not finite changes nothing but the counters `step` and
    `skipped`: parameters, their average and the optimizer state stay bit for bit as they were.

    Args:
        potential: gives `predict` and the buffers, which are never changed.
        terms: the loss, by property.
        optimizer: as made by `make_optimizer`.
        schedule: learning rate by number of updates, for the record only.
        ema_decay: decay of the averaged parameters; None without averaging.
        groups: which parameters are frozen: they, and their average, stay bit for bit as they are.
        replay_weight: factor on the loss of the structures that a call says are replayed.
        devices: each takes a shard of every batch; together they take the step that one would.
    """

    def __init__(
        self,
        potential: Predictor,
        terms: Mapping[str, LossTerm],
        optimizer: optax.GradientTransformation,
        schedule: optax.Schedule,
        ema_decay: float | None,
        groups: ParameterGroups = EVERYTHING_ALIKE,
        replay_weight: float = 1.0,
        devices: Devices = ONE_DEVICE,
    ):
        self.compilations = 0
        self._potential = potential
        self._terms = dict(terms)
        self._optimizer = optimizer
        self._schedule = schedule
        self._ema_decay = ema_decay
        self._groups = groups
        self._replay_weight = replay_weight
        self._devices = devices
        divided = (False, True, True, False, True, True)
        self._jitted = devices.compiled(self._step, divided, donate=(0,))

    def __call__(
        self,
        state: TrainState,
        graph: AtomGraph | AtomGraph[np.ndarray],
        targets: Targets,
        scale: Float[np.ndarray, ""],
        replayed: Bool[np.ndarray, " structures"] | None = None,
        requests: Mapping[str, Int[np.ndarray, ""]] | None = None,
    ) -> tuple[TrainState, Scalars]:
        """Return the next state and the step's scalars; `state` is donated.

        On several devices graph, targets, replayed and requests are those of `Devices.shards`, and
        the state is `Devices.everywhere`.

        Args:
            state: the state before the step; its arrays cannot be used afterwards.
            graph: the batch.
            targets: its labels.
            scale: factor on the update, from the plateau schedule.
            replayed: (B,) whether a structure is of the replay set; None if there is none. Both
                kinds have a loss of their own, a mean over their own labels, and the loss is that
                of the new ones plus replay_weight times that of the replayed.
            requests: numbers that are summed over devices and given back with the scalars: what
                processes have to agree on costs no exchange of its own.

        Returns:
            The new state, and loss, one value a term (of the new structures), replay (the loss of
            the replayed, if there are any), gradient_norm (before clipping), learning_rate,
            skipped (bool), and the requests.
        """
        return self._jitted(state, graph, targets, scale, replayed, requests)

    def _step(
        self,
        state: TrainState,
        graph: AtomGraph,
        targets: Targets,
        scale: Float[Array, ""],
        replayed: Bool[Array, " structures"] | None,
        requests: Mapping[str, Int[Array, ""]] | None,
    ) -> tuple[TrainState, Scalars]:
        # Python runs here only while jax traces, which is once for each compilation.
        self.compilations += 1

        parts = self._parts(graph, targets, replayed)

        def loss_of(trained: PyTree) -> tuple[Float[Array, ""], Scalars]:
            params = self._groups.merged(state.params, trained)
            return self._loss(params, graph, targets, parts)

        trained = self._groups.trained(state.params)
        found = jax.value_and_grad(loss_of, has_aux=True)(trained)
        # The loss is divided by labels of all devices already: what is left is to sum.
        ((loss, values), gradients), requests = self._devices.total((found, requests or {}))
        norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        made = state.step - state.skipped
        changed = self._updated(state, gradients, scale)
        unchanged = (state.params, state.averaged, state.optimizer)
        params, averaged, optimizer = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old), changed, unchanged
        )
        new_state = TrainState(
            step=state.step + 1,
            skipped=state.skipped + jnp.where(finite, 0, 1).astype(state.skipped.dtype),
            params=params,
            averaged=averaged,
            optimizer=optimizer,
        )
        return new_state, {
            "loss": loss,
            **values,
            "gradient_norm": norm,
            "learning_rate": jnp.multiply(self._schedule(made), scale),
            "skipped": ~finite,
            **requests,
        }

    def _parts(
        self, graph: AtomGraph, targets: Targets, replayed: Bool[Array, " structures"] | None
    ) -> list[tuple[AtomGraph, dict[str, Array]]]:
        """Return the new and the replayed structures, with their labels' number on all devices."""
        kinds = [graph]
        if replayed is not None:
            kinds = [only(graph, ~replayed), only(graph, replayed)]
        counts = [label_counts(targets, kind, self._terms) for kind in kinds]
        return list(zip(kinds, self._devices.total(counts), strict=True))

    def _loss(
        self,
        params: PyTree,
        graph: AtomGraph,
        targets: Targets,
        parts: Sequence[tuple[AtomGraph, Mapping[str, Array]]],
    ) -> tuple[Float[Array, ""], Scalars]:
        """Return this device's share of the loss, and of its terms before they are weighted."""
        variables = {"params": params, "buffers": self._potential.variables["buffers"]}
        predictions = self._potential.predict(variables, graph, tuple(self._terms))
        values, *replayed = (
            loss_terms(predictions, targets, kind, self._terms, counts) for kind, counts in parts
        )
        loss = weighted_sum(values, self._terms)
        if not replayed:
            return loss, values
        replay = weighted_sum(replayed[0], self._terms)
        return loss + self._replay_weight * replay, {**values, "replay": replay}

    def _updated(
        self, state: TrainState, gradients: PyTree, scale: Float[Array, ""]
    ) -> tuple[PyTree, PyTree | None, optax.OptState]:
        """Return parameters, their average and the optimizer's state after an update."""
        trained = self._groups.trained(state.params)
        updates, optimizer = self._optimizer.update(gradients, state.optimizer, trained)
        updates = jax.tree.map(lambda u: u * scale.astype(u.dtype), updates)
        trained = optax.apply_updates(trained, updates)
        params = self._groups.merged(state.params, trained)
        averaged = state.averaged
        if averaged is not None and self._ema_decay is not None:
            made = state.step - state.skipped
            own = self._groups.trained(averaged)
            own = update_average(own, trained, made, self._ema_decay)
            averaged = self._groups.merged(averaged, own)
        return params, averaged, optimizer


class CommitteeStep(TrainStep):
    """A step of each member of a committee with a batch of its own, all in one program.

    State, graph and targets have a first axis of members; the arguments are those of one member.
    A step that is not finite leaves that member alone as it was. Scalars are means over members.
    """

    def _step(
        self,
        state: TrainState,
        graph: AtomGraph,
        targets: Targets,
        scale: Float[Array, ""],
        replayed: Bool[Array, " structures"] | None,
        requests: Mapping[str, Int[Array, ""]] | None,
    ) -> tuple[TrainState, Scalars]:
        def of_one(
            state: TrainState, graph: AtomGraph, targets: Targets
        ) -> tuple[TrainState, Scalars]:
            return super(CommitteeStep, self)._step(
                state, graph, targets, scale, replayed, requests
            )

        state, scalars = jax.vmap(of_one)(state, graph, targets)
        skipped = jnp.any(scalars.pop("skipped"))
        means = {name: jnp.mean(values, axis=0) for name, values in scalars.items()}
        return state, {**means, "skipped": skipped}
