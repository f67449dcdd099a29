"""Infrared absorption from the dipole moments along a trajectory."""

import numpy as np
from ase import units
from jaxtyping import Float

from tensornet_jax.spectra.correlation import Spectrum, spectral_density
from tensornet_jax.spectra.quantum import emitted_share, quantum_factor, reduced_energy

# (e·Å/fs)² cm over eV to a molar absorption coefficient in km/mol per cm⁻¹: N_A/(6 ε₀ c²) with
# the cm of the density in place of that of the absorption.
_ABSORPTION = (
    units._Nav / (6 * units._eps0 * units._c**2) * (units._e * 1e-10 / 1e-15) ** 2 / units._e * 1e-3
)


def infrared_spectrum(
    dipoles: Float[np.ndarray, "replicas steps 3"],
    interval: float,
    temperature: float,
    *,
    resolution: float = 10.0,
    window: str = "hann",
    correction: str = "harmonic",
) -> Spectrum:
    """Return the molar absorption of a molecule, km/mol per cm⁻¹ (or, the same, km·cm/mol).

    α(ω) = N_A β/(6 c ε₀) · Q(x) (1 − e^{−x})/x · ∫ ⟨μ̇(0)·μ̇(t)⟩ e^{−iωt} dt with x = βħω:
    Gordon's formula with a classical correlation function and its quantum correction factor Q
    (Ramírez et al., J. Chem. Phys. 121, 3973 (2004)). With "harmonic" everything but the integral
    is constant, and the area below a line is the intensity of the double harmonic approximation,
    N_A |∂μ/∂q|² / (12 ε₀ c²).

    Args:
        dipoles: (R, T, 3) e·Å of R replicas.
        interval: time between two of them, fs.
        temperature: K.
        resolution: full width at half maximum of a sharp line, cm⁻¹.
        window: one of ``WINDOWS``.
        correction: one of ``CORRECTIONS``.

    Raises:
        ValueError: a series too short for the resolution, an unknown window or correction.
    """
    density = spectral_density(dipoles, interval, resolution=resolution, window=window)
    x = reduced_energy(density.wavenumbers, temperature)
    factor = quantum_factor(correction, x) * emitted_share(x)
    return density.times(_ABSORPTION * factor / (units.kB * temperature))
