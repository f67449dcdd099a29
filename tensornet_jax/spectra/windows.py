"""Lag windows: how a correlation function fades out, and so the shape of every line.

A window multiplies the correlation function, its transform is convolved with the spectrum. The
names are Harris's (Proc. IEEE 66, 51 (1978)); a window is given by the full width at half maximum
of its transform, which is the resolution of the spectrum.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tensornet_jax.spectra.wavenumbers import SPEED_OF_LIGHT


class Window(NamedTuple):
    """A lag window.

    shape: of |lag| over the longest lag, in [0, 1].
    width: full width at half maximum of its transform, times twice the longest lag.
    """

    shape: Callable[[np.ndarray], np.ndarray]
    width: float


# exp(−a²/2) = 10⁻⁴ at the longest lag.
_GAUSSIAN = np.sqrt(2 * np.log(1e4))

WINDOWS = {
    "hann": Window(lambda x: 0.5 + 0.5 * np.cos(np.pi * x), 2.0),
    "blackman": Window(
        lambda x: 0.42 + 0.5 * np.cos(np.pi * x) + 0.08 * np.cos(2 * np.pi * x), 2.2988
    ),
    "gaussian": Window(
        lambda x: np.exp(-0.5 * (_GAUSSIAN * x) ** 2),
        2 * np.sqrt(2 * np.log(2)) * _GAUSSIAN / np.pi,
    ),
    "none": Window(np.ones_like, 1.2067),
}
"""Windows by name; the transform of "gaussian" has no side lobes, that of "none" large ones."""


def lag_window(name: str, resolution: float, interval: float) -> Float[np.ndarray, " lags"]:
    """Return the window from lag 0 to its end, (K,).

    Args:
        name: one of ``WINDOWS``.
        resolution: full width at half maximum of a sharp line, cm⁻¹.
        interval: time between two lags, fs.

    Raises:
        ValueError: unknown name, or a resolution that is not positive.
    """
    if name not in WINDOWS:
        raise ValueError(f"window {name!r} is not one of {', '.join(WINDOWS)}")
    if not resolution > 0:
        raise ValueError(f"a resolution must be above 0 cm⁻¹, not {resolution}")
    window = WINDOWS[name]
    longest = window.width / (2 * SPEED_OF_LIGHT * resolution)
    lags = np.arange(int(longest / interval) + 1) * interval
    return window.shape(lags / longest)
