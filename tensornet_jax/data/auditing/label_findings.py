"""What may be wrong with where labels come from: two keys, keys nobody reads, weights, charges."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from tensornet_jax.data.auditing.consistency import WorkSlope
from tensornet_jax.data.auditing.unused_keys import look_of
from tensornet_jax.data.labels.canonical import DIFFERS
from tensornet_jax.data.labels.config import PROPERTIES, LabelConfig
from tensornet_jax.data.labels.labels import FREE_ENERGY, free_energy_of, labels_of, source_of
from tensornet_jax.data.labels.tensors import NAMES
from tensornet_jax.data.labels.weights import STRUCTURE, key_of, weight_of

FREE_ENERGY_LIMIT = 1e-4  # eV per atom; a free energy nearer to the energy is not worth a warning


def reading_remarks(atoms_list: Sequence[Atoms]) -> list[str]:
    """Warnings: what the readers had to decide, each with how many structures it concerns."""
    concerned: dict[str, list[str]] = {}
    for index, atoms in enumerate(atoms_list):
        for remark in atoms.info.get("remarks", ()):
            concerned.setdefault(remark, []).append(source_of(atoms, index))
    return [
        f"{remark} ({len(sources)} structures, e.g. {sources[0]})"
        for remark, sources in concerned.items()
    ]


def passed_over(atoms_list: Sequence[Atoms]) -> list[str]:
    """Warnings: labels that were found and not used, because another key came first or misfits."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for atoms in atoms_list:
        for name, keys in atoms.info.get("ignored_labels", {}).items():
            used = atoms.info.get("label_keys", {}).get(name, "")
            counts.update((name, key, used) for key in keys)
    texts = []
    for (name, noted, used), count in counts.items():
        key = noted.removesuffix(f" ({DIFFERS})")
        texts.append(
            f"{name}: {key} is not used in {count} structures"
            + (f", {used} is" if used else "")
            + (", and they differ" if key != noted else "")
            + ("" if "(" in key else f" (labels.{name} would name another)")
        )
    return texts


def unread(atoms_list: Sequence[Atoms]) -> list[str]:
    """Warnings: keys that look like labels, charges, spins or weights and that nothing reads."""
    counts = Counter(key for atoms in atoms_list for key in atoms.info.get("unused_keys", ()))
    groups: dict[str, list[str]] = {}
    for key, count in counts.items():
        look = str(look_of(key))
        place = look if look in ("charge", "spin", "weight") else "label"
        groups.setdefault(place, []).append(f"{key} (in {count} structures)")
    remedies = {
        "label": "look like labels and are not read: name those that are meant under data.labels "
        "(--label)",
        "charge": "look like a total charge and are not read: name the one that is meant as "
        "data.labels.charge (--label charge=KEY)",
        "spin": "look like a spin and are not read: name the one that is meant as "
        "data.labels.spin (--label spin=KEY), and say in data.labels.units.spin what it counts",
        "weight": "are not honored: weights that are read are config_weight, "
        "config_energy_weight, config_forces_weight and so on; nan says that a label is missing",
    }
    return [f"{', '.join(keys)}: such keys {remedies[place]}" for place, keys in groups.items()]


def mixed_keys(
    atoms_list: Sequence[Atoms], labels: LabelConfig | None
) -> tuple[list[str], list[str]]:
    """Return (errors, warnings) on labels of one property that come from two keys.

    It is an error where structures have both keys and their values differ.
    """
    errors, warnings = [], []
    for name in PROPERTIES:
        if labels is not None and labels.decided(name):
            continue
        used = Counter(key for atoms in atoms_list if (key := _key_of(atoms, name)))
        if len(used) < 2:
            continue
        listed = " and ".join(f"{key} in {count} structures" for key, count in used.items())
        text = f"{name} is read from {listed}"
        conflicts = [
            source_of(atoms, index)
            for index, atoms in enumerate(atoms_list)
            for other in used
            if f"{other} ({DIFFERS})" in atoms.info.get("ignored_labels", {}).get(name, ())
        ]
        if conflicts:
            errors.append(
                f"{text}, and where a structure has both they differ ({conflicts[0]}): they are "
                f"not of one kind: name the one that is meant as data.labels.{name}"
            )
        else:
            warnings.append(
                f"{text}: are they of one level of theory? data.labels.{name} would name one"
            )
    return errors, warnings


def mixed_families(
    atoms_list: Sequence[Atoms], labels: LabelConfig | None
) -> tuple[list[str], list[str]]:
    """Return (errors, warnings) on energies and their derivatives from different sources.

    `REF_energy` beside `forces`, which may be those of a calculator, is a warning; an error where
    the structure also has an energy beside those forces, and it is another.
    """
    errors, warnings = [], []
    for name in ("forces", "stress"):
        if labels is not None and labels.decided("energy") and labels.decided(name):
            continue
        pairs: Counter[tuple[str, str]] = Counter()
        other_energy: dict[tuple[str, str], str] = {}
        for index, atoms in enumerate(atoms_list):
            energy, derivative = _key_of(atoms, "energy"), _key_of(atoms, name)
            if not (energy and derivative) or _family(energy) == _family(derivative):
                continue
            pairs[energy, derivative] += 1
            for passed in atoms.info.get("ignored_labels", {}).get("energy", ()):
                key = passed.removesuffix(f" ({DIFFERS})")
                if key != passed and _family(key) == _family(derivative):
                    text = f"{key}, which is another energy ({source_of(atoms, index)})"
                    other_energy.setdefault((energy, derivative), text)
        for (energy, derivative), count in pairs.items():
            text = (
                f"{count} structures have their energy from {energy} and {name} from {derivative}"
            )
            remedy = f"name both keys under data.labels, energy and {name}"
            if conflict := other_energy.get((energy, derivative)):
                errors.append(f"{text}, beside {conflict}: {remedy}")
            else:
                warnings.append(f"{text}: are they of one calculation? If so, {remedy}")
    return errors, warnings


def free_energies(
    atoms_list: Sequence[Atoms], energy_work: WorkSlope | None, free_work: WorkSlope | None
) -> list[str]:
    """Warnings: free energies beside other energies, of which one belongs to the forces.

    Args:
        atoms_list: structures.
        energy_work: −ΔE of the energy labels against F·Δr.
        free_work: the same of the free energies.
    """
    different = free_energy_differences(atoms_list)
    if not len(different):
        return []
    better = (
        energy_work is not None
        and free_work is not None
        and abs(free_work.slope - 1) + 0.02 < abs(energy_work.slope - 1)
    )
    if different.max() < FREE_ENERGY_LIMIT and not better:
        return []
    text = (
        f"{len(different)} structures have a free_energy that differs from the energy that is "
        f"used, by up to {different.max():.3g} eV per atom"
    )
    if energy_work is not None and free_work is not None:
        text += (
            f"; −ΔE against F·Δr has slope {free_work.slope:.3g} with the free energy and "
            f"{energy_work.slope:.3g} with the energy"
        )
    verdict = "fits the forces better" if better else "is what forces of smeared electrons follow"
    key = _key_of(next(a for a in atoms_list if not np.isnan(free_energy_of(a))), "free_energy")
    return [
        f"{text}: the free energy {verdict}: set data.labels.energy: {key or 'free_energy'} "
        f"(--label energy={key or 'free_energy'}), or name the other key to keep it"
    ]


def free_energy_differences(atoms_list: Sequence[Atoms]) -> np.ndarray:
    """Return |free energy − energy| per atom, eV, of the structures that have both."""
    both = [atoms for atoms in atoms_list if FREE_ENERGY in atoms.info]
    values = [abs(free_energy_of(a) - labels_of(a).energy) / len(a) for a in both]
    found = np.array(values, dtype=np.float64)
    return found[~np.isnan(found)]


def state_counts(atoms_list: Sequence[Atoms], kind: str) -> dict[str, int]:
    """Return total charge or spin multiplicity, as text → structures; unstated ones apart."""
    counts: Counter[tuple[bool, float]] = Counter()
    for atoms in atoms_list:
        value = float(atoms.info.get(kind, 0.0)) + 0.0
        stated = bool(_key_of(atoms, kind)) or (kind in atoms.info and value != 0.0)
        counts[not stated, value] += 1
    sign = "+" if kind == "charge" else ""

    def text(unstated: bool, value: float) -> str:
        return "not stated" if unstated else f"{value:{sign if value else ''}g}"

    return {text(*key): count for key, count in sorted(counts.items())}


def weight_ranges(atoms_list: Sequence[Atoms]) -> dict[str, tuple[float, float, int]]:
    """Return label → smallest and largest weight and how many are 0, of labels not all of 1."""
    tensors = sorted({name for atoms in atoms_list for name in atoms.info.get(NAMES, ())})
    keys = {key for atoms in atoms_list for key in atoms.info}
    ranges = {}
    for name in (*PROPERTIES, *tensors):
        if not keys & {STRUCTURE, key_of(name)}:
            continue
        weights = np.array([weight_of(atoms, name) for atoms in atoms_list])
        if (weights != 1.0).any():
            zero = int(np.count_nonzero(weights == 0.0))
            ranges[name] = (float(weights.min()), float(weights.max()), zero)
    return ranges


def _key_of(atoms: Atoms, name: str) -> str:
    return atoms.info.get("label_keys", {}).get(name, "")


def _family(key: str) -> str:
    """Return what keys of one calculation share: REF, dft, or nothing."""
    prefix = key.partition("_")[0].lower()
    return prefix if prefix in ("ref", "dft") else ""
