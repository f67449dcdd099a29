"""What energies are counted from when a trained model goes on with other data.

The network gives the energy of bonding: the total energy less that of the isolated atoms. It goes
on meaning that for data of any code and pseudopotential if the isolated atoms' energies are those
of the data. Where these are not known, they are what makes the new total energies agree best with
the bonding that the starting model already predicts. A fit to the total energies themselves, as for
random weights, would put the mean bond into the isolated atoms, and the network would have to
unlearn it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase.data import chemical_symbols

from tensornet_jax.data.composition_fit import fit_to_composition
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.references import (
    ReferenceEnergies,
    ReferenceSpec,
    elements_of,
    stated_energies,
)
from tensornet_jax.potential.potential import ElementTable, Potential
from tensornet_jax.train.data.parts import DataError

# Mean distance of total energies from the starting model's, eV/atom: what is told, what refused.
REMARKABLE = 0.1
IMPOSSIBLE = 10.0
FITTED = ("least_squares", "none")


@dataclass(frozen=True)
class Set:
    """A data set whose reference energies are wanted.

    Attributes:
        name: for messages.
        remedy: the setting that fits the reference energies to it.
        structures: with labels; only these are fitted to.
        isolated: isolated atoms that came with them.
        labels: label names and units of a file of isolated atoms.
    """

    name: str
    remedy: str
    structures: Sequence[LabelledStructure]
    isolated: Sequence[LabelledStructure]
    labels: LabelConfig


def kept_references(
    potential: Potential,
    new: Sequence[int],
    of_new: ReferenceSpec,
    data: Set,
    message: Callable[[str], None],
) -> ReferenceEnergies:
    """Return the starting model's reference energies, with those of new elements.

    Args:
        potential: the starting model, with all elements of the run.
        new: atomic numbers that it did not know.
        of_new: where their energies come from, as in `data.references`; by least squares they are
            fitted to what the starting model leaves of the energies.
        data: the data set.
        message: is told if the energies of the set seem to have another zero.

    Raises:
        DataError: the energies must have another zero.
        ValueError: a new element has no energy.
    """
    own = _own(potential)
    fitted = tuple(number for number in elements_of(data.structures) if number in new)
    bonding = _bonding(potential, data.structures)
    if fitted and of_new not in FITTED:
        energies, source = stated_energies(of_new, data.isolated, data.labels)
        own, fitted = _with_stated(own, energies, source, fitted, fitted), ()
    if fitted:
        own = _changed(own, (fitted,), data.structures, bonding)
    energies = np.array([structure.energy for structure in data.structures])
    sizes = np.array([len(structure) for structure in data.structures])
    far = np.abs(energies - bonding - _sums(own, data.structures)) / sizes
    mean = float(np.mean(far[~np.isnan(far)])) if not np.isnan(far).all() else 0.0
    text = (
        f"energies of the {data.name} are {mean:.3g} eV/atom from the starting model's on average: "
        "if they have another zero (code, pseudopotentials, functional), "
    )
    if mean > IMPOSSIBLE:
        raise DataError(f"{text}have it fitted: {data.remedy}")
    if mean > REMARKABLE:
        message(f"{text}have it fitted: {data.remedy}")
    return own


def refitted_references(
    potential: Potential,
    new: Sequence[int],
    spec: ReferenceSpec,
    data: Set,
    message: Callable[[str], None],
) -> ReferenceEnergies:
    """Return reference energies that belong to a data set of another origin than the model.

    Elements that the set does not have, or that are not named, keep the starting model's energies.

    Args:
        potential: the starting model, with all elements of the run; new ones have 0 eV.
        new: atomic numbers that it did not know.
        spec: "least_squares": the starting model's, changed by as little as makes the energies
            agree best with what it predicts; else energies of isolated atoms as in
            `data.references`.
        data: the data set.
        message: takes sentences for the user.

    Raises:
        ValueError: spec is "none", or a new element has no energy.
    """
    if spec == "none":
        raise ValueError(
            "data.reference_energies is none: what a trained network gives are energies of "
            "bonding, so isolated atoms have energies: use least_squares, or "
            "start.reference_energies: keep"
        )
    own, present = _own(potential), elements_of(data.structures)
    if spec == "least_squares":
        # The new ones first: where data do not determine both, the known ones change little.
        stages = tuple(n for n in present if n in new), present
        return _changed(own, stages, data.structures, _bonding(potential, data.structures))
    energies, source = stated_energies(spec, data.isolated, data.labels)
    if not set(energies) & set(present):
        raise ValueError(
            f"isolated-atom energies of the {data.name} ({source}) name none of its elements, "
            f"{_symbols(present)}: add them, or use least_squares"
        )
    unnamed = [number for number in present if number not in energies and number not in new]
    if unnamed:
        message(
            f"{data.name}: no isolated-atom energy is given for {_symbols(unnamed)}: the starting "
            "model's is kept"
        )
    return _with_stated(own, energies, source, own.numbers, [n for n in present if n in new])


def _own(potential: Potential) -> ReferenceEnergies:
    numbers, energies = potential.elements.numbers, potential.elements.reference_energies
    return ReferenceEnergies(numbers, energies, "the starting model's", len(numbers))


def _bonding(potential: Potential, structures: Sequence[LabelledStructure]) -> np.ndarray:
    """Return what the network makes of each structure, offset included, eV.

    NaN where no energy is known, or where the model has none.
    """
    numbers = potential.elements.numbers
    # Without metadata it does not warn of what it is about to be trained on.
    bare = potential.replace(elements=ElementTable(numbers, np.zeros(len(numbers))), metadata={})
    found = np.full(len(structures), np.nan)
    if "energy" not in potential.properties:
        return found
    labelled = [k for k, structure in enumerate(structures) if not np.isnan(structure.energy)]
    results = bare.evaluate([structures[k].atoms for k in labelled], ("energy",))
    found[labelled] = [result["energy"] for result in results]
    return found


def _sums(references: ReferenceEnergies, structures: Sequence[LabelledStructure]) -> np.ndarray:
    return np.array([references.of(structure.numbers) for structure in structures])


def _changed(
    own: ReferenceEnergies,
    stages: Sequence[tuple[int, ...]],
    structures: Sequence[LabelledStructure],
    bonding: np.ndarray,
) -> ReferenceEnergies:
    """Change the energies of these elements, one stage after the other, by least squares."""
    labels = np.array([structure.energy for structure in structures])
    found, fit = own, None
    for fitted in stages:
        fit = fit_to_composition(fitted, structures, labels - bonding - _sums(found, structures))
        change = dict(zip(fitted, fit.energies, strict=True))
        changes = np.array([change.get(number, 0.0) for number in own.numbers])
        found = replace(found, energies=found.energies + changes)
    assert fit is not None
    return replace(
        found,
        source=f"{own.source}, those of {_symbols(stages[-1])} changed by least squares on what it "
        f"leaves of {fit.count} energies",
        rank=len(own.numbers) - len(stages[-1]) + fit.rank,
        undetermined=fit.undetermined,
    )


def _with_stated(
    own: ReferenceEnergies,
    energies: dict[int, float],
    source: str,
    among: Sequence[int],
    needed: Sequence[int],
) -> ReferenceEnergies:
    missing = [number for number in needed if number not in energies]
    if missing:
        raise ValueError(
            f"no reference energy for {_symbols(missing)} ({source}), new to the starting model: "
            "add it, or use least_squares"
        )
    taken = {number: energies[number] for number in among if number in energies}
    return replace(
        own,
        energies=np.array(
            [taken.get(n, e) for n, e in zip(own.numbers, own.energies, strict=True)]
        ),
        source=f"{own.source}, those of {_symbols(list(taken))}: {source}",
    )


def _symbols(numbers: Sequence[int]) -> str:
    return ", ".join(chemical_symbols[number] for number in numbers)
