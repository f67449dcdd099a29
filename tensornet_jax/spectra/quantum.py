"""Quantum correction factors: what turns a classical correlation spectrum into one that absorbs.

The spectrum of a quantum correlation function obeys detailed balance, C(ω) = e^{βħω} C(−ω); that
of a classical one is even. A factor Q(ω) that depends on βħω alone repairs it. Named and compared
by Ramírez et al., J. Chem. Phys. 121, 3973 (2004); "harmonic" is exact for a harmonic oscillator
and for the Kubo transform of anything.
"""

import numpy as np
from jaxtyping import Float

from tensornet_jax.spectra.wavenumbers import BOLTZMANN, PLANCK

CORRECTIONS = ("harmonic", "standard", "schofield", "none")


def reduced_energy(
    wavenumbers: Float[np.ndarray, " wavenumbers"], temperature: float
) -> Float[np.ndarray, " wavenumbers"]:
    """Return βħω of wavenumbers in cm⁻¹ at a temperature in K."""
    if not temperature > 0:
        raise ValueError(f"a spectrum needs a temperature above 0 K, not {temperature}")
    return PLANCK * np.asarray(wavenumbers, np.float64) / (BOLTZMANN * temperature)


def quantum_factor(name: str, x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return Q at x = βħω ≥ 0, of the shape of x.

    "harmonic" x / (1 − e^{−x}), "standard" 2 / (1 + e^{−x}), "schofield" e^{x/2}, "none" 1.

    Raises:
        ValueError: unknown name.
    """
    if name == "harmonic":
        return 1 / emitted_share(x)
    if name == "standard":
        return 2 / (1 + np.exp(-x))
    if name == "schofield":
        return np.exp(x / 2)
    if name == "none":
        return np.ones_like(x)
    raise ValueError(f"quantum correction {name!r} is not one of {', '.join(CORRECTIONS)}")


def emitted_share(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return (1 − e^{−x}) / x: absorption less stimulated emission, over its classical limit."""
    safe = np.where(x == 0, 1, x)
    return np.where(x == 0, 1, -np.expm1(-safe) / safe)
