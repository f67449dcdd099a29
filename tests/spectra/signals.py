"""Series whose spectra are known on paper."""

import numpy as np
from scipy.signal import lfilter

LIGHT = 2.99792458e-5
"""Speed of light, cm/fs."""


def cosines(lines, length=8000, interval=2.0, replicas=4, seed=0) -> np.ndarray:
    """Return (R, T) sums of A cos(2πcν̃t + φ) for (ν̃, A) with random φ."""
    rng = np.random.default_rng(seed)
    times = np.arange(length) * interval
    total = np.zeros((replicas, length))
    for wavenumber, amplitude in lines:
        phases = rng.uniform(0, 2 * np.pi, (replicas, 1))
        total += amplitude * np.cos(2 * np.pi * LIGHT * wavenumber * times + phases)
    return total


def autoregression(coefficients, length, replicas, seed=0) -> np.ndarray:
    """Return (R, T) of x_t = Σ_k a_k x_{t−k} + noise of variance 1, without its beginning."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((replicas, length + 2000))
    filtered = lfilter([1.0], [1.0, *(-a for a in coefficients)], noise, axis=1)
    return np.asarray(filtered)[:, 2000:]
