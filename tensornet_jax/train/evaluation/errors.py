"""Errors of a potential on labelled structures, during a run and after it.

Both ways run the same compiled programs and end in one `ErrorTable`: validation with given
parameters and the run's own padding, everything else through `Potential.evaluate`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import PyTree
from numpy.typing import ArrayLike

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.graph.atom_graph import Capacity
from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.potential.evaluation import dispatched, outputs_for
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.programs import program_of
from tensornet_jax.potential.results import energies_of, unbatched
from tensornet_jax.properties import LABELLED
from tensornet_jax.runtime.devices import ONE_DEVICE, Devices
from tensornet_jax.train.config.run import LossTerm
from tensornet_jax.train.data.examples import Example, Examples
from tensornet_jax.train.data.replay import Replay
from tensornet_jax.train.data.shards import Shards
from tensornet_jax.train.evaluation.metrics import ALL, ErrorTable, errors_of
from tensornet_jax.train.optimization.losses import penalty, scale_of, weighted_sum

_Waiting: TypeAlias = tuple[list[list[Example]], Callable[[], list[Mapping[str, np.ndarray]]]]


def evaluate_structures(
    potential: Potential,
    structures: Sequence[LabelledStructure],
    batch_size: int | None = None,
    devices: Devices = ONE_DEVICE,
    *,
    deviations: bool = False,
) -> list[dict[str, np.ndarray]]:
    """Return `potential.evaluate` of what each structure has a label for, in the order given.

    Properties without a label are left out, and so are those the potential does not predict: what
    has no label may have no meaning either, such as the stress of a molecule.

    Args:
        potential: the potential.
        structures: with labels.
        batch_size: structures evaluated at a time, on each device.
        devices: that share the structures.
        deviations: also their standard deviations, and with energies those of the atoms', if the
            potential knows them.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, structure in enumerate(structures):
        names = tuple(name for name in structure.labels if name in potential.properties)
        if deviations:
            own = [*names, *(("energies",) if "energy" in names else ())]
            names += tuple(f"{n}_std" for n in own if f"{n}_std" in potential.properties)
        groups.setdefault(names, []).append(index)
    predictions: list[dict[str, np.ndarray]] = [{} for _ in structures]
    for names, indices in groups.items():
        if names:
            chosen = [structures[k].atoms for k in indices]
            found = potential.evaluate(chosen, names, batch_size, devices=devices)
            for index, prediction in zip(indices, found, strict=True):
                predictions[index] = prediction
    return predictions


def error_table(
    data_set: str,
    structures: Sequence[LabelledStructure],
    predictions: Sequence[Mapping[str, ArrayLike]],
    heads: Sequence[TensorHead] = (),
) -> ErrorTable:
    """Return the errors of predictions, one for each structure, against the labels."""
    table = ErrorTable(data_set, heads)
    for each, prediction in zip(structures, predictions, strict=True):
        table.add(prediction, each.labels, each.numbers, each.config_type)
    return table


@dataclass(frozen=True)
class Validation:
    """The result of one validation.

    Attributes:
        loss: the weighted sum of `terms`.
        terms: each loss term, weights of labels included, over the whole set as one batch.
        errors: MAE and RMSE of the labels, whatever their weights.
    """

    loss: float
    terms: dict[str, float]
    errors: ErrorTable


class Validator:
    """Validates given parameters on one fixed set of structures.

    Args:
        potential: the model; its own parameters are not used.
        examples: the structures and targets.
        terms: the loss, by property; one without any label in the set is 0.
        batch_size: structures per evaluation, on each device.
        devices: that share the structures.
    """

    def __init__(
        self,
        potential: Potential,
        examples: Examples,
        terms: Mapping[str, LossTerm],
        batch_size: int,
        devices: Devices = ONE_DEVICE,
    ):
        self._examples = examples
        self._terms = dict(terms)
        self._dtype = potential.dtype
        self._numbers = np.asarray(potential.elements.numbers)
        self._devices = devices
        self._potential = potential
        self._buffers = devices.everywhere(potential.variables["buffers"])
        self._compute = outputs_for(terms)
        self._capacities: set[Capacity] = set()
        self._heads = potential.tensor_heads
        self._per_atom = potential.per_atom
        self._levels = potential.config.levels
        self._compared = {row.name: row.compared.name for row in LABELLED}
        # Structures of like size together leave little padding.
        order = np.argsort(examples.sizes.pairs, kind="stable")
        size = min(batch_size * devices.count, len(order))
        self._batches = [order[k : k + size] for k in range(0, len(order), size)]
        self._shards = Shards.choose(examples.sizes, size, self._batches, devices.count)

    @property
    def compilations(self) -> int:
        """How many sizes of arrays predictions were compiled for."""
        return len(self._capacities)

    def __call__(self, params: PyTree) -> Validation:
        """Return loss and errors with these parameters, all sums in float64."""
        table = ErrorTable("validation", self._heads)
        penalties = {name: penalty(term) for name, term in self._terms.items()}
        sums = dict.fromkeys(self._terms, 0.0)
        counts = dict.fromkeys(self._terms, 0)
        for chosen, outputs in self._outputs(params):
            predictions = unbatched(outputs, [len(e.structure) for e in chosen], self._per_atom)
            for (structure, targets, _), prediction in zip(chosen, predictions, strict=True):
                if "energies" in prediction:
                    prediction |= energies_of(prediction["energies"])
                level = None if structure.head is None else self._levels[structure.head]
                table.add(prediction, targets, self._numbers[structure.species], level)
                errors = errors_of(prediction, targets, len(structure), self._heads)
                for name in self._terms:
                    error = errors[self._compared.get(name, name)]
                    weight = float(targets.weights.get(name, 1.0))
                    known = error[~np.isnan(error) & (weight > 0)] / scale_of(self._terms[name])
                    sums[name] += weight * float(np.sum(penalties[name](known)))
                    counts[name] += known.size
        terms = {name: sums[name] / max(counts[name], 1) for name in self._terms}
        return Validation(float(weighted_sum(terms, self._terms)), terms, table)

    def _outputs(self, params: PyTree) -> Iterator[tuple[list[Example], Mapping[str, np.ndarray]]]:
        """Yield examples and predictions, packing a batch while the device works on the last."""
        variables = {"params": params, "buffers": self._buffers}
        waiting: _Waiting | None = None
        for indices in self._batches:
            parts, capacity = self._shards.of(indices)
            self._share(capacity)
            # Errors of all shards are summed up in every process, which so needs all labels.
            chosen = iter(self._examples.many(np.concatenate(parts).tolist()))
            shards = [[next(chosen) for _ in part] for part in parts]
            structures = [[each.structure for each in shard] for shard in shards]
            outputs = dispatched(
                self._potential, variables, structures, self._compute, capacity, self._devices
            )
            if waiting is not None:
                yield from zip(waiting[0], waiting[1](), strict=True)
            waiting = shards, outputs
        if waiting is not None:
            yield from zip(waiting[0], waiting[1](), strict=True)

    def _share(self, capacity: Capacity) -> None:
        """Let the report evaluate with what validation has compiled."""
        if capacity not in self._capacities:
            self._capacities.add(capacity)
            program_of(self._potential.module).ladder.add(capacity)


class JointValidator:
    """Validates on the new data and, where there is one, on the held-out part of the replay set.

    The loss is that of the new data plus the replay set's weight times its own, as in training.

    Args:
        potential: the model; its own parameters are not used.
        validation: new structures.
        replay: the replay set.
        terms: the loss, by property.
        batch_size: structures per evaluation, on each device.
        devices: that share the structures.
    """

    def __init__(
        self,
        potential: Potential,
        validation: Examples,
        replay: Replay | None,
        terms: Mapping[str, LossTerm],
        batch_size: int,
        devices: Devices = ONE_DEVICE,
    ):
        self._new = Validator(potential, validation, terms, batch_size, devices)
        self._weight, self._replay = 0.0, None
        if replay is not None:
            self._weight = replay.weight
            self._replay = Validator(potential, replay.validation, terms, batch_size, devices)
        rows = [row for row in LABELLED if row.name in terms]
        # Of several heads the errors of each stand beside those of all.
        levels = potential.config.levels if potential.config.num_levels > 1 else ()
        self._groups = {ALL: ""} | {level: f"_{level}" for level in levels}
        names = [row.name for row in (*rows, *potential.tensor_heads) if row.name in terms]
        self._names = [*names, *(row.compared.name for row in rows if row.errors_per_atom)]
        losses = ["loss", *(f"loss_{name}" for name in terms)]
        errors = [
            f"{name}_{kind}{suffix}"
            for suffix in self._groups.values()
            for name in self._names
            for kind in ("mae", "rmse")
        ]
        if replay is not None:
            losses.append("loss_replay")
            errors += [f"replay_{name}" for name in errors]
        self.columns = (*losses, *errors)

    @property
    def compilations(self) -> int:
        """How often predictions were compiled."""
        validators = [self._new, *([self._replay] if self._replay else [])]
        return sum(validator.compilations for validator in validators)

    def __call__(self, params: PyTree) -> dict[str, float]:
        """Return a value for each of `columns`."""
        new = self._new(params)
        row = {"loss": new.loss, **{f"loss_{name}": value for name, value in new.terms.items()}}
        row |= self._errors(new.errors)
        if self._replay is not None:
            again = self._replay(params)
            errors = self._errors(again.errors)
            row |= {f"replay_{name}": value for name, value in errors.items()}
            row |= {"loss": new.loss + self._weight * again.loss, "loss_replay": again.loss}
        return row

    def _errors(self, table: ErrorTable) -> dict[str, float]:
        totals = {
            (name, suffix): table.total(name, group)
            for group, suffix in self._groups.items()
            for name in self._names
        }
        return {f"{name}_mae{suffix}": total.mae for (name, suffix), total in totals.items()} | {
            f"{name}_rmse{suffix}": total.rmse for (name, suffix), total in totals.items()
        }
