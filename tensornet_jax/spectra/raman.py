"""Raman scattering from the polarizabilities along a trajectory."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tensornet_jax.spectra.correlation import Spectrum, spectral_density
from tensornet_jax.spectra.quantum import quantum_factor, reduced_energy
from tensornet_jax.spectra.wavenumbers import SPEED_OF_LIGHT


class RamanSpectrum(NamedTuple):
    """Stokes scattering at right angles, in the unit of the polarizability squared, times cm.

    isotropic: of the mean polarizability a = tr α / 3.
    anisotropic: of γ² = ³⁄₂ tr β², β = α − a.
    """

    isotropic: Spectrum
    anisotropic: Spectrum

    @property
    def parallel(self) -> Spectrum:
        """Scattered light polarized as the laser is, a² + 4γ²/45."""
        return self._sum(4 / 45)

    @property
    def perpendicular(self) -> Spectrum:
        """Scattered light polarized across, 3γ²/45."""
        return self.anisotropic.times(3 / 45)

    @property
    def unpolarized(self) -> Spectrum:
        """Both together, (45a² + 7γ²)/45."""
        return self._sum(7 / 45)

    def depolarization_ratio(self) -> Float[np.ndarray, " wavenumbers"]:
        """Return perpendicular over parallel, (K,): at most ¾, and 0 of a spherical vibration."""
        parallel = self.parallel.intensity
        safe = np.where(parallel == 0, 1, parallel)
        return np.where(parallel == 0, 0, self.perpendicular.intensity / safe)

    def _sum(self, share: float) -> Spectrum:
        first, second = self.isotropic, self.anisotropic.times(share)
        error = None
        if first.error is not None and second.error is not None:
            error = np.hypot(first.error, second.error)
        return Spectrum(first.wavenumbers, first.intensity + second.intensity, error)


def raman_spectrum(
    polarizabilities: Float[np.ndarray, "replicas steps 3 3"],
    interval: float,
    temperature: float,
    *,
    laser: float | None = 532.0,
    resolution: float = 10.0,
    window: str = "hann",
    correction: str = "harmonic",
) -> RamanSpectrum:
    """Return isotropic and anisotropic Stokes spectra.

    I(ν̃) = (1 − ν̃/ν̃₀)⁴ Q(x) c ∫ ⟨α(0) α(t)⟩ e^{−2πicν̃t} dt with x = βħω and the laser's ν̃₀;
    the integral is that of α̇ over ω². With "harmonic" this is the formula of Thomas et al., Phys.
    Chem. Chem. Phys. 15, 6608 (2013), but for constants. Below the resolution, where light counts
    as scattered elastically and 1/ω² has no bound, the intensity is set to 0.

    Args:
        polarizabilities: (R, T, 3, 3) of R replicas, symmetric.
        interval: time between two of them, fs.
        temperature: K.
        laser: wavelength, nm; None leaves out the fourth power.
        resolution: full width at half maximum of a sharp line, cm⁻¹.
        window: one of ``WINDOWS``.
        correction: one of ``CORRECTIONS``.

    Raises:
        ValueError: a series too short for the resolution, an unknown window or correction, a
            wavelength that is not positive.
    """
    if laser is not None and not laser > 0:
        raise ValueError(f"the laser's wavelength must be above 0 nm, not {laser}")
    tensors = np.asarray(polarizabilities, np.float64)
    tensors = 0.5 * (tensors + np.swapaxes(tensors, -1, -2))
    mean = np.trace(tensors, axis1=-2, axis2=-1) / 3
    rest = tensors - mean[..., None, None] * np.eye(3)
    parts = []
    for series in (mean, np.sqrt(1.5) * rest):
        density = spectral_density(series, interval, resolution=resolution, window=window)
        wavenumbers = density.wavenumbers
        elastic = wavenumbers < resolution
        omega = 2 * np.pi * SPEED_OF_LIGHT * np.where(elastic, 1, wavenumbers)
        factor = quantum_factor(correction, reduced_energy(wavenumbers, temperature)) / omega**2
        if laser is not None:
            # Nothing is scattered with more energy than the light has.
            factor = factor * np.maximum(1 - wavenumbers * laser * 1e-7, 0) ** 4
        parts.append(density.times(np.where(elastic, 0, factor)))
    return RamanSpectrum(*parts)
