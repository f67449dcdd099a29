"""A structure with its labels, parsed once: what readers give and everything after them takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from jaxtyping import Int

from tensornet_jax.data.labels.config import LabelUnits
from tensornet_jax.data.labels.electronic_state import ElectronicState, set_state
from tensornet_jax.data.labels.labels import CANONICAL, FREE_ENERGY, Labels
from tensornet_jax.data.labels.tensors import NAMES, PREFIX
from tensornet_jax.data.labels.total_charge import ChargeRemark
from tensornet_jax.data.labels.weights import Weights


@dataclass(frozen=True, eq=False)
class LabelledStructure:
    """Geometry, labels, electronic state and origin of one structure, in eV and Å.

    Attributes:
        atoms: the geometry, without calculator and labels, constraints kept. `info` and `arrays`
            have what else the file says, and `info` the total charge and the spin, under the names
            by which every potential reads them; charges of atoms are ASE's initial charges.
        labels: by property or tensor; what is missing is absent.
        state: total charge and spin multiplicity.
        weights: how much the structure and each label count.
        free_energy: an electronic free energy that differs from the energy label, eV; else NaN.
        source: file and zero-based frame, e.g. ``train.xyz:12``.
        keys: the key that each label, and charge and spin where they are stated, was read from.
        ignored: keys that hold a property too and were passed over, with the reason.
        unused: keys that look like a label and were not looked for.
        units: those of the file's own numbers.
        remarks: what a person should know about how it was read.
    """

    atoms: Atoms
    labels: Labels
    state: ElectronicState = field(default_factory=ElectronicState)
    weights: Weights = field(default_factory=Weights)
    free_energy: float = float("nan")
    source: str = "structure"
    keys: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    units: LabelUnits = field(default_factory=LabelUnits)
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        set_state(self.atoms.info, self.state.charge, self.state.spin)

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.atoms)

    @property
    def numbers(self) -> Int[np.ndarray, " atoms"]:
        """Atomic numbers."""
        return self.atoms.numbers

    @property
    def config_type(self) -> str | None:
        """The group that the file counts it to, if any."""
        group = self.atoms.info.get("config_type")
        return None if group is None else str(group)

    @property
    def head(self) -> str | None:
        """The level of theory that its file or the data section says it is of, if any."""
        head = self.atoms.info.get("head")
        return None if head is None else str(head)

    @property
    def energy(self) -> float:
        """The energy label, eV; NaN where there is none."""
        return float(self.labels.of("energy"))

    def with_head(self, head: str) -> "LabelledStructure":
        """Return the structure as one of a level of theory."""
        atoms = self.atoms.copy()
        atoms.info["head"] = head
        return replace(self, atoms=atoms)

    def with_state(self, charge: float | None, spin: int | None) -> "LabelledStructure":
        """Return the structure in a given state, whatever its file says.

        Args:
            charge: total charge, e; None leaves what there is. Nothing remains to be said of it.
            spin: multiplicity 2S + 1; None leaves what there is.
        """
        remarks = self.remarks
        if charge is not None:
            remarks = tuple(text for text in remarks if not isinstance(text, ChargeRemark))
        state = self.state.with_given(charge, spin)
        return replace(self, atoms=self.atoms.copy(), state=state, remarks=remarks)

    def with_labels(self, labels: Labels, free_energy: float = float("nan")) -> "LabelledStructure":
        """Return the structure with other labels, of which no file says under which keys."""
        state = {kind: key for kind, key in self.keys.items() if kind in ("charge", "spin")}
        return replace(self, labels=labels, free_energy=free_energy, keys=state)

    def without_labels(self) -> "LabelledStructure":
        """Return the structure without labels, which do not survive moving its atoms."""
        return self.with_labels(Labels(len(self)))

    def to_atoms(self, *, notes: bool = True) -> Atoms:
        """Return Atoms that carry everything, as `read_structures` hands them out.

        Labels are `info["REF_energy"]` (eV), `arrays["REF_forces"]` ((N, 3), eV/Å),
        `info["REF_stress"]` ((3, 3), eV/Å³), `info["REF_dipole"]` ((3,), e·Å), all float64, where
        they exist; tensors as `labels.tensors` says. Weights have their usual keys.

        Args:
            notes: also what reading noted: `info["source"]`, `info["label_keys"]` (property,
                charge or spin → key it was read from), and, where there is something to say,
                `info["ignored_labels"]`, `info["unused_keys"]`, `info["remarks"]` and
                `info["tensor_labels"]`, the names of the tensors.
        """
        atoms = self.atoms.copy()
        atoms.info |= self.weights.as_keys()
        for name, label in self.labels.items():
            tensor = name not in CANONICAL
            key = PREFIX + name if tensor else CANONICAL[name]
            if name in self.labels.of_atoms:
                atoms.arrays[key] = label.reshape(len(self), -1).copy()
            elif tensor:
                atoms.info[key] = label.reshape(-1).copy()
            else:
                atoms.info[key] = label.copy() if label.ndim else float(label)
        if not np.isnan(self.free_energy):
            atoms.info[FREE_ENERGY] = self.free_energy
        if notes:
            atoms.info |= self._notes()
        return atoms

    def _notes(self) -> dict[str, object]:
        found: dict[str, object] = {"source": self.source, "label_keys": dict(self.keys)}
        said = {
            NAMES: tuple(name for name in self.labels if name not in CANONICAL),
            "ignored_labels": {name: list(texts) for name, texts in self.ignored.items()},
            "unused_keys": self.unused,
            "remarks": self.remarks,
        }
        return found | {key: value for key, value in said.items() if value}
