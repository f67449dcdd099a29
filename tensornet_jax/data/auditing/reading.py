"""What readers had to decide, told once for all the structures that it concerns."""

from collections import Counter
from collections.abc import Iterable
from typing import Self

from tensornet_jax.data.auditing.unused_keys import look_of
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.picking import DIFFERS

# Sentences that are kept; a reader that says another one of every structure is cut short.
MOST_REMARKS = 1000
_REMEDIES = {
    "label": "look like labels and are not read: name those that are meant under data.labels "
    "(--label)",
    "charge": "look like a total charge and are not read: name the one that is meant as "
    "data.labels.charge (--label charge=KEY)",
    "spin": "look like a spin and are not read: name the one that is meant as "
    "data.labels.spin (--label spin=KEY), and say in data.labels.units.spin what it counts",
    "weight": "are not honored: weights that are read are config_weight, "
    "config_energy_weight, config_forces_weight and so on; nan says that a label is missing",
}


class ReadingTally:
    """Counts remarks on structures, in memory that does not grow with their number."""

    def __init__(self) -> None:
        self._remarks: dict[str, tuple[int, str]] = {}
        self._passed_over: Counter[tuple[str, str, str]] = Counter()
        self._unread: Counter[str] = Counter()

    @classmethod
    def of(cls, structures: Iterable[LabelledStructure]) -> Self:
        """Return the tally of structures."""
        tally = cls()
        for structure in structures:
            tally.add(structure)
        return tally

    def add(self, structure: LabelledStructure) -> None:
        """Count one structure."""
        for remark in structure.remarks:
            count, source = self._remarks.get(remark, (0, structure.source))
            if count or len(self._remarks) < MOST_REMARKS:
                self._remarks[remark] = count + 1, source
        for name, keys in structure.ignored.items():
            used = structure.keys.get(name, "")
            self._passed_over.update((name, key, used) for key in keys)
        self._unread.update(structure.unused)

    def warnings(self) -> list[str]:
        """Return a sentence on everything that was counted."""
        return [*self.remarks(), *self._of_passed_over(), *self._of_unread()]

    def remarks(self) -> list[str]:
        """Return what the readers had to decide, each with how many structures it concerns."""
        return [
            f"{remark} ({count} structures, e.g. {source})"
            for remark, (count, source) in self._remarks.items()
        ]

    def _of_passed_over(self) -> list[str]:
        """Labels that were found and not used: another key came first, or they do not fit."""
        texts = []
        for (name, noted, used), count in self._passed_over.items():
            key = noted.removesuffix(f" ({DIFFERS})")
            texts.append(
                f"{name}: {key} is not used in {count} structures"
                + (f", {used} is" if used else "")
                + (", and they differ" if key != noted else "")
                + ("" if "(" in key else f" (labels.{name} would name another)")
            )
        return texts

    def _of_unread(self) -> list[str]:
        """Keys that look like labels, charges, spins or weights and that nothing reads."""
        groups: dict[str, list[str]] = {}
        for key, count in self._unread.items():
            look = str(look_of(key))
            place = look if look in ("charge", "spin", "weight") else "label"
            groups.setdefault(place, []).append(f"{key} (in {count} structures)")
        return [
            f"{', '.join(keys)}: such keys {_REMEDIES[place]}" for place, keys in groups.items()
        ]
