"""Potentials with an uncertainty, by last-layer prediction rigidity or of a committee."""

from collections.abc import Callable, Sequence

import ase
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.models.config import require_last_layer
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.uncertainty.calibration import Calibration, best_scale, calibrate
from tensornet_jax.potential.uncertainty.deviations import COLLECTION
from tensornet_jax.potential.uncertainty.residuals import Residuals, residuals_of
from tensornet_jax.potential.uncertainty.rigidity import (
    Covariance,
    best_regularizer,
    random_directions,
)
from tensornet_jax.potential.uncertainty.shallow import Energies, Score, trained_last_layers
from tensornet_jax.potential.uncertainty.stored import SCALED, without_uncertainty
from tensornet_jax.potential.uncertainty.structure_features import features_per_atom

FEWEST_TO_CALIBRATE = 2
RIGIDITY = "last-layer prediction rigidity"
"""Name of the estimator whose covariance is that of the training set."""

Progress = Callable[[str, int, int], None]
"""Takes the work, how many structures are done, and how many there are."""


def _silent(what: str, done: int, total: int) -> None:
    """Show nothing."""


def with_rigidity(
    potential: Potential,
    sample: Sequence[ase.Atoms],
    validation: Sequence[LabelledStructure],
    *,
    directions: int | None = None,
    regularizer: float | None = None,
    isotonic: bool = False,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = _silent,
) -> Potential:
    """Return the potential with standard deviations of its energies, forces and stress.

    Args:
        potential: trained, or converted; a former uncertainty is replaced.
        sample: structures it was trained on, or like them; each is looked at once.
        validation: structures it was not trained on, with energies, and with forces and stress as
            far as these are to be calibrated by themselves.
        directions: of the weights that are pulled back to positions, for forces and stress: the
            fewer, the cheaper, and the noisier; None for all, which is exact.
        regularizer: ς² over the largest eigenvalue of the covariance; None for the one under which
            the errors of the validation set are the most likely.
        isotonic: correct deviations by curves where that makes errors more likely.
        seed: of random directions.
        batch_size: structures at a time.
        progress: told how far it is.

    Raises:
        ValueError: no sample, fewer than `FEWEST_TO_CALIBRATE` energies, no error, a model without
            a last layer, or a number out of its range.
    """
    _check(potential, sample, validation, directions, regularizer)
    potential = without_uncertainty(potential)
    covariance: Covariance | None = None
    for _, rows in features_per_atom(potential, sample, batch_size):
        covariance = covariance or Covariance(rows.shape[1])
        covariance.add(rows)
        progress("features", covariance.num_structures, len(sample))
    assert covariance is not None
    if regularizer is None:
        known = _energies(potential, validation, batch_size)
        regularizer = best_regularizer(covariance, *known)
    factor = covariance.factor(regularizer)
    count = factor.shape[1] if directions is None else directions
    drawn = random_directions(factor, count, seed)
    facts: dict[str, object] = {
        "estimator": RIGIDITY,
        "structures": covariance.num_structures,
        "features": covariance.size,
        "directions": drawn.shape[1],
        "regularizer": regularizer,
    }
    raw = _with_estimate(potential, factor, drawn, {name: Calibration(1.0) for name in SCALED})
    return _calibrated(raw, facts, validation, isotonic, batch_size, progress)


def with_shallow_ensemble(
    potential: Potential,
    sample: Sequence[LabelledStructure],
    validation: Sequence[LabelledStructure],
    *,
    members: int = 16,
    score: Score = "nll",
    isotonic: bool = False,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = _silent,
) -> Potential:
    """Return the potential with standard deviations of several last layers, trained by likelihood.

    The network and what it says stay as they are; see `shallow`. Training begins with last layers
    drawn by prediction rigidity. Forces' deviations take a backward pass for each member.

    Args:
        potential: trained, or converted; a former uncertainty is replaced.
        sample: structures with energies, whose errors the last layers are trained on.
        validation: structures with labels that it was not trained on: training ends by them, and
            deviations are scaled by them.
        members: last layers, at most as many as there are features.
        score: what is minimized: negative log likelihood, or continuous ranked probability score.
        isotonic: correct deviations by curves where that makes errors more likely.
        seed: of the first last layers.
        batch_size: structures at a time.
        progress: told how far it is.

    Raises:
        ValueError: fewer than `FEWEST_TO_CALIBRATE` energies in either set, no error, a model
            without a last layer, or fewer than two members.
    """
    _check(potential, [each.atoms for each in sample], validation, members, None)
    _check_labels(sample)
    if members < 2:
        raise ValueError(f"an ensemble has two members or more, not {members}")
    potential = without_uncertainty(potential)
    known, held = (_energies(potential, each, batch_size) for each in (sample, validation))
    progress("features", len(sample), len(sample))
    covariance = Covariance(known.features.shape[1])
    covariance.add(known.features)
    factor = covariance.factor(best_regularizer(covariance, *held))
    factor *= best_scale(held.errors, np.linalg.norm(held.features @ factor, axis=1))
    start = random_directions(factor, members, seed)
    columns = trained_last_layers(start, known, held, score)
    facts: dict[str, object] = {
        "estimator": f"shallow ensemble, {score}",
        "structures": len(known.errors),
        "features": covariance.size,
        "directions": columns.shape[1],
    }
    raw = _with_estimate(potential, columns, columns, {name: Calibration(1.0) for name in SCALED})
    return _calibrated(raw, facts, validation, isotonic, batch_size, progress)


def with_spread(
    potential: Potential,
    validation: Sequence[LabelledStructure] = (),
    *,
    isotonic: bool = False,
    batch_size: int | None = None,
    progress: Progress = _silent,
) -> Potential:
    """Return a committee whose standard deviations are those of its members.

    Args:
        potential: a committee; a former uncertainty is replaced. It may have several heads, as long
            as nothing is scaled: members differ in all of them.
        validation: structures it was not trained on, by whose errors deviations are scaled; without
            any they are those of the members as they are.
        isotonic: correct deviations by curves where that makes errors more likely.
        batch_size: structures at a time.
        progress: told how far it is.

    Raises:
        ValueError: it is no committee, fewer than `FEWEST_TO_CALIBRATE` energies, no error, or
            several heads to scale by the errors of one.
    """
    potential.config.require_energy()
    if validation:
        potential.config.require_one_level()
    size = potential.config.committee
    if size is None:
        raise ValueError("this is no committee, whose members could differ: use with_rigidity")
    centered = (np.eye(size) - 1 / size) / np.sqrt(size - 1)
    facts: dict[str, object] = {"estimator": "committee", "members": size}
    as_they_are = {name: Calibration(1.0) for name in SCALED}
    raw = _with_estimate(potential, centered, centered, as_they_are)
    if not validation:
        return raw.replace(metadata={**potential.metadata, COLLECTION: facts})
    _check_labels(validation)
    return _calibrated(raw, facts, validation, isotonic, batch_size, progress)


def _calibrated(
    raw: Potential,
    facts: dict[str, object],
    validation: Sequence[LabelledStructure],
    isotonic: bool,
    batch_size: int | None,
    progress: Progress,
) -> Potential:
    """Return a potential whose deviations are scaled to the errors on a validation set."""
    estimate = raw.variables[COLLECTION]
    found = _residuals(raw, validation, batch_size, progress)
    calibrations = {n: calibrate(*each, isotonic=isotonic) for n, each in found.items()}
    # What has no label is as sure, relative to its s, as the energy.
    calibrations = {n: calibrations.get(n, calibrations["energy"]) for n in SCALED}
    facts = facts | {
        "validation": len(validation),
        "calibrated": sorted(found),
        "scales": {name: each.scale for name, each in calibrations.items()},
        "curves": [name for name, each in calibrations.items() if each.knots is not None],
    }
    final = _with_estimate(raw, estimate["factor"], estimate["directions"], calibrations)
    return final.replace(metadata={**raw.metadata, COLLECTION: facts})


def held_out(number: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return indices of a sample and of a validation set drawn at random, both in order.

    Args:
        number: of structures.
        share: of them in the validation set, at least `FEWEST_TO_CALIBRATE`.
        seed: of the choice.

    Raises:
        ValueError: the share is not between 0 and 1, or there are too few structures.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share held out must be between 0 and 1, not {share:g}")
    count = max(FEWEST_TO_CALIBRATE, round(share * number))
    if count >= number:
        raise ValueError(
            f"{number} structures are too few to hold {count} of them out for calibration: give "
            "more, or a validation set of their own"
        )
    order = np.random.default_rng(seed).permutation(number)
    return sorted(order[count:].tolist()), sorted(order[:count].tolist())


def _check(
    potential: Potential,
    sample: Sequence[ase.Atoms],
    validation: Sequence[LabelledStructure],
    directions: int | None,
    regularizer: float | None,
) -> None:
    require_last_layer(potential.config)
    if potential.config.committee:
        raise ValueError("a committee has its members to tell how sure it is: use with_spread")
    if not sample:
        raise ValueError("no structures to collect the covariance of features from")
    _check_labels(validation)
    if directions is not None and directions < 1:
        raise ValueError(f"directions must be 1 or more, not {directions}")
    if regularizer is not None and not (np.isfinite(regularizer) and regularizer > 0):
        raise ValueError(f"the regularizer must be positive, not {regularizer}")


def _check_labels(validation: Sequence[LabelledStructure]) -> None:
    known = sum(np.isfinite(each.energy) for each in validation)
    if known < FEWEST_TO_CALIBRATE:
        raise ValueError(
            f"{known} of {len(validation)} structures of the validation set have an energy: "
            "deviations are in eV only once errors of energies have told their scale; name the "
            "labels' key, or give structures with labels"
        )


def _energies(
    potential: Potential, structures: Sequence[LabelledStructure], batch_size: int | None
) -> Energies:
    """Return features and errors of the energies that are labelled, per atom, eV."""
    # By size, as packs are: features come in that order.
    known = sorted((e for e in structures if np.isfinite(e.energy)), key=len)
    frames = [each.atoms for each in known]
    rows = [rows for _, rows in features_per_atom(potential, frames, batch_size)]
    found = potential.evaluate(frames, ("energy",), batch_size)
    errors = [
        (each["energy"] - label.energy) / max(len(label), 1)
        for each, label in zip(found, known, strict=True)
    ]
    return Energies(potential.energy_scale * np.concatenate(rows), np.array(errors))


def _residuals(
    potential: Potential,
    structures: Sequence[LabelledStructure],
    batch_size: int | None,
    progress: Progress,
) -> dict[str, Residuals]:
    groups: dict[tuple[str, ...], list[LabelledStructure]] = {}
    for each in structures:
        names = tuple(name for name in SCALED if name in each.labels)
        groups.setdefault(names, []).append(each)
    predictions, labels = [], []
    for names, members in groups.items():
        if names:
            compute = (*names, *(f"{name}_std" for name in names))
            frames = [each.atoms for each in members]
            predictions += potential.evaluate(frames, compute, batch_size)
            labels += [each.labels for each in members]
            progress("calibration", len(labels), len(structures))
    return residuals_of(predictions, labels)


def _with_estimate(
    potential: Potential,
    factor: Float[np.ndarray | Array, "features rank"],
    directions: Float[np.ndarray | Array, "features count"],
    calibrations: dict[str, Calibration],
) -> Potential:
    scales = {name: each.scale for name, each in calibrations.items()}
    curves = {n: each.knots for n, each in calibrations.items() if each.knots is not None}
    estimate: dict[str, object] = {"factor": factor, "directions": directions, "scales": scales}
    if curves:
        estimate["isotonic"] = curves
    with potential.precision():
        arrays = jax.tree.map(lambda leaf: jnp.asarray(leaf, potential.dtype), estimate)
    return potential.replace(variables={**potential.variables, COLLECTION: arrays})
