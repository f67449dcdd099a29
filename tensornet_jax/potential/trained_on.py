"""What a model has seen in training, and a warning where it is asked for something else.

A network gives any ion an energy, also one that was trained on neutral molecules alone. The model
file therefore records charges, spins and elements of the structures it was trained on.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

import ase
import pydantic
from pydantic import Field

from tensornet_jax.config import Config
from tensornet_jax.data.labels.electronic_state import stated_spin, warn_of_initial_charges
from tensornet_jax.graph.electrons import total_charge
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.runtime.notices import Notice
from tensornet_jax.runtime.sealed_file import Json

ENTRY = "trained_on"
"""Of a potential's metadata."""
MOST_VALUES = 64

# JSON, each entry of which only its writer and its readers know.
Metadata: TypeAlias = Json
"""Free text about the origin of a potential, saved with it."""

_Value = TypeVar("_Value", int, float)

_SILENCE = (
    "to silence it: warnings.simplefilter('ignore', "
    "tensornet_jax.potential.trained_on.OutsideTrainingWarning)"
)


class OutsideTrainingWarning(Notice):
    """A potential is asked about a charge, a spin or an element that it was not trained on."""


class TrainedOn(Config):
    """Charges, spins and elements of the structures a potential was trained on.

    None where it is not known. Of more than `MOST_VALUES` charges some stand for all.
    """

    structures: int | None = Field(default=None, description="how many there were")
    elements: dict[str, int] | None = Field(
        default=None, description="structures that have the element, by symbol"
    )
    charges: tuple[float, ...] | None = Field(default=None, description="total charges, e")
    spins: tuple[int, ...] | None = Field(default=None, description="multiplicities 2S + 1")

    @classmethod
    def of(cls, structures: Iterable[ase.Atoms]) -> "TrainedOn":
        """Return the record of a training set."""
        elements, charges, spins, count = Counter(), set(), set(), 0
        for atoms in structures:
            count += 1
            elements.update(set(atoms.get_chemical_symbols()))
            charges.add(total_charge(atoms))
            spins.add(_spin(atoms))
        return cls(
            structures=count,
            elements=dict(sorted(elements.items())),
            charges=_thinned(sorted(charges)),
            spins=tuple(sorted(spins - {None})),
        )

    def merged(self, other: "TrainedOn | None") -> "TrainedOn":
        """Return the record of a potential that was trained on one set and then on another."""
        if other is None:
            return self

        def both(
            mine: tuple[_Value, ...] | None, theirs: tuple[_Value, ...] | None
        ) -> tuple[_Value, ...] | None:
            return None if mine is None or theirs is None else tuple(sorted({*mine, *theirs}))

        elements = None
        if self.elements is not None and other.elements is not None:
            elements = dict(sorted((Counter(self.elements) + Counter(other.elements)).items()))
        count = None
        if self.structures is not None and other.structures is not None:
            count = self.structures + other.structures
        charges = both(self.charges, other.charges)
        return TrainedOn(
            structures=count,
            elements=elements,
            charges=None if charges is None else _thinned(charges),
            spins=both(self.spins, other.spins),
        )

    def lines(self) -> list[str]:
        """Describe it to a reader, one line for each thing that is known."""
        found = [] if self.structures is None else [f"structures: {self.structures:,}"]
        if self.charges is not None:
            found.append(f"total charges: {_listed(self.charges)}")
        if self.spins:
            found.append(f"spin multiplicities: {_listed(self.spins)}")
        if self.elements is not None:
            counts = (f"{symbol} {count:,}" for symbol, count in self.elements.items())
            found.append(f"structures with: {', '.join(counts)}")
        return found


def record_of(metadata: Mapping[str, object]) -> TrainedOn | None:
    """Return what the metadata of a potential say of its training; None if they say nothing.

    One that is about to be trained further has the record of the model it starts from.

    Raises:
        ValueError: they say it in a form that cannot be read.
    """
    if ENTRY not in metadata:
        start = metadata.get("start")
        former = start.get("metadata") if isinstance(start, Mapping) else None
        return record_of(former) if isinstance(former, Mapping) else None
    try:
        return TrainedOn.model_validate(metadata[ENTRY])
    except pydantic.ValidationError as error:
        raise ValueError(
            f"the entry {ENTRY} of the model's metadata is unusable: {error}"
        ) from None


def with_record(metadata: Mapping[str, object], record: TrainedOn) -> Metadata:
    """Return the metadata of a potential with a record."""
    return {**metadata, ENTRY: record.model_dump(mode="json", exclude_none=True)}


def after_training(metadata: Mapping[str, object], structures: Iterable[ase.Atoms]) -> Metadata:
    """Return the metadata of a potential that has been trained on these structures too."""
    return with_record(metadata, TrainedOn.of(structures).merged(record_of(metadata)))


class Watch:
    """Warns once of each kind where a potential is asked about what it was not trained on."""

    def __init__(
        self,
        metadata: Mapping[str, object],
        *,
        sees_charge: bool,
        needs_spin: bool,
        needs_charges: bool = False,
    ) -> None:
        """Look at what is known of the training.

        Args:
            metadata: of the potential. An untrained one has none, and is not watched.
            sees_charge: whether anything it predicts depends on the total charge.
            needs_spin: whether it depends on the spin.
            needs_charges: whether the initial charges of the atoms are an input of it.
        """
        self._trained = bool(metadata)
        self._record = record_of(metadata) or TrainedOn()
        self._sees_charge, self._needs_spin = sees_charge, needs_spin
        self._ignores_charges = sees_charge and not needs_charges
        self._told: set[str] = set()

    @classmethod
    def over(cls, metadata: Mapping[str, object], config: ModelConfig) -> "Watch":
        """Return the watch over a potential with this metadata and configuration."""
        return cls(
            metadata,
            sees_charge=config.sees_charge,
            needs_spin=config.needs_spin,
            needs_charges=config.needs_charges,
        )

    def look(self, atoms: ase.Atoms, where: str = "") -> None:
        """Warn if a structure is outside the training.

        Args:
            atoms: a structure that the potential can evaluate.
            where: how messages name it.
        """
        looks = self._ignores_charges and "initial charges" not in self._told
        if looks and warn_of_initial_charges(atoms, where):
            self._told.add("initial charges")
        if not self._trained:
            return
        for kind, text in (
            ("charge", self._of_charge(total_charge(atoms), where)),
            ("spin", self._of_spin(_spin(atoms), where)),
            ("element", self._of_elements(atoms.get_chemical_symbols(), where)),
        ):
            if text and kind not in self._told:
                self._told.add(kind)
                warnings.warn(f"{text} ({_SILENCE})", OutsideTrainingWarning, stacklevel=3)

    def _of_charge(self, charge: float, where: str) -> str:
        known = self._record.charges
        if not self._sees_charge or (known is None and not charge):
            return ""
        if known is None:
            return (
                f"total charge {charge:g}{where}: the model does not say which charges it was "
                "trained on, and gives any charge an energy; make sure that it has seen this one"
            )
        return "" if _within(charge, known) else _guess(f"total charge {charge:g}{where}", known)

    def _of_spin(self, spin: int | None, where: str) -> str:
        known = self._record.spins
        if not self._needs_spin or not known or spin is None or spin in known:
            return ""
        return _guess(f"spin multiplicity {spin}{where}", known)

    def _of_elements(self, symbols: Iterable[str], where: str) -> str:
        known = self._record.elements
        unseen = [] if known is None else sorted({*symbols} - {*known})
        if not unseen:
            return ""
        return (
            f"element {', '.join(unseen)}{where}: it is in the model's table, but no structure "
            "that the model was trained on has it, so that what the model says of it is a guess: "
            "train it on such structures"
        )


def _guess(asked: str, known: Sequence[float]) -> str:
    return (
        f"{asked}: the model was trained on {_listed(known)} alone, and what it says of others is "
        "a guess: train it on such structures"
    )


def _spin(atoms: ase.Atoms) -> int | None:
    # Of a data set for models without spin it may be anything.
    try:
        return stated_spin(atoms.info)
    except ValueError:
        return None


def _within(charge: float, known: Sequence[float]) -> bool:
    """Tell whether a charge is among the known ones, or between them if they are no integers."""
    if any(abs(charge - each) < 1e-6 for each in known):
        return True
    integers = all(float(each).is_integer() for each in (*known, charge))
    return not integers and bool(known) and min(known) < charge < max(known)


def _thinned(values: Sequence[float]) -> tuple[float, ...]:
    """Return at most `MOST_VALUES` of sorted values, the ends among them."""
    last = len(values) - 1
    if last < MOST_VALUES:
        return tuple(values)
    return tuple(values[round(k * last / (MOST_VALUES - 1))] for k in range(MOST_VALUES))


def _listed(values: Sequence[float]) -> str:
    if len(values) > 8:
        return f"{len(values)} values from {values[0]:g} to {values[-1]:g}"
    return ", ".join(f"{value:g}" for value in values) or "none"
