"""Shallow ensembles: several last layers on one network (arXiv:2402.16621), trained by likelihood.

Last layers w + δ_m of M members, with Σ_m δ_m = 0, leave the mean of the energies what the network
says, and their spread is its deviation: with features f_A per atom and errors e_A of energies

    σ_A² = Σ_m (f_A · δ_m)² / (M − 1) + ε²

The δ_m are trained to make the errors likely, by the negative log likelihood of normal errors or by
the continuous ranked probability score, on the network as it is.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.optimize import OptimizeResult, minimize
from scipy.stats import norm

Score: TypeAlias = Literal["nll", "crps"]

# ε in root mean square errors: without it a deviation of zero, where an error happens to be small,
# would be infinitely likely.
FLOOR = 0.05
MOST_ITERATIONS = 200


class Energies(NamedTuple):
    """What is known of the energies of structures.

    features: per atom, eV for weights of one.
    errors: per atom, eV.
    """

    features: Float[np.ndarray, "structures features"]
    errors: Float[np.ndarray, " structures"]


def trained_last_layers(
    start: Float[np.ndarray, "features members"],
    sample: Energies,
    validation: Energies,
    score: Score,
) -> Float[np.ndarray, "features members"]:
    """Return the factor L of a shallow ensemble's covariance, δ_m/√(M − 1) in columns.

    By L-BFGS from a start; of its iterates the one that is best on other structures.

    Args:
        start: a factor of the covariance of weights.
        sample: that the last layers are trained on.
        validation: by which training ends.
        score: of what is minimized.
    """
    shape = start.shape
    floor = (FLOOR * np.sqrt(np.mean(sample.errors**2))) ** 2
    judged = SCORES[score]

    def of(flat: np.ndarray, known: Energies) -> tuple[float, np.ndarray]:
        factor = _centered(flat.reshape(shape))
        parts = known.features @ factor
        deviations = np.sqrt(np.sum(parts**2, axis=1) + floor)
        values, slopes = judged(known.errors, deviations)
        # σ dσ = parts · d parts.
        weights = (slopes / deviations / len(values))[:, None] * parts
        return float(np.mean(values)), _centered(known.features.T @ weights).ravel()

    best = start.ravel()
    lowest = of(best, validation)[0]

    def keep(intermediate_result: OptimizeResult) -> None:
        nonlocal best, lowest
        now = of(intermediate_result.x, validation)[0]
        if now < lowest:
            best, lowest = intermediate_result.x.copy(), now

    options = {"maxiter": MOST_ITERATIONS}
    minimize(of, best, args=(sample,), jac=True, method="L-BFGS-B", callback=keep, options=options)
    return _centered(best.reshape(shape))


def _nll(errors: np.ndarray, deviations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = errors / deviations
    return 0.5 * np.log(2 * np.pi) + np.log(deviations) + 0.5 * z**2, (1 - z**2) / deviations


def _crps(errors: np.ndarray, deviations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Of a normal distribution (Gneiting & Raftery, doi:10.1198/016214506000001437, Eq. 21).
    z, rest = errors / deviations, 1 / np.sqrt(np.pi)
    density = norm.pdf(z)
    values = deviations * (z * (2 * norm.cdf(z) - 1) + 2 * density - rest)
    return values, 2 * density - rest


SCORES: dict[Score, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "nll": _nll,
    "crps": _crps,
}
"""From errors and deviations to the scores of structures, and their derivatives by deviations."""


def _centered(columns: np.ndarray) -> np.ndarray:
    return columns - columns.mean(axis=1, keepdims=True)
