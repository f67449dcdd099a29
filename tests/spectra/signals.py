"""Series whose spectra are known on paper, and files with them."""

from pathlib import Path

import h5py
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


def write_series(
    path: Path,
    values,
    interval=2.0,
    temperature=300.0,
    numbers=(8, 1),
    per_atom=(),
    volume=0.0,
    unit="e·Å",
):
    """Write (R, T, …) arrays by name to a file as `tensornet-jax md` does."""
    first = next(iter(values.values()))
    steps = np.arange(len(first[0]))
    with h5py.File(path, "w") as file:
        for index in range(len(first)):
            group = file.create_group(f"{index:03d}")
            group["numbers"], group["pbc"] = np.array(numbers), np.zeros(3, bool)
            for name, rows in values.items():
                group[name] = rows[index]
                group[name].attrs.update(unit=unit, per_atom=name in per_atom)
            group["step"], group["time_fs"] = steps, steps * interval
            group["temperature"] = np.full(len(steps), temperature)
            group["volume"] = np.full(len(steps), volume)
