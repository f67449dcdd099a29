"""From recorded time series to spectra, conductivities and block averages; no JAX."""

from tensornet_jax.spectra.averages import Average, block_average
from tensornet_jax.spectra.conductivity import Conductivity, thermal_conductivity
from tensornet_jax.spectra.correlation import Spectrum, spectral_density
from tensornet_jax.spectra.infrared import infrared_spectrum
from tensornet_jax.spectra.quantum import CORRECTIONS, quantum_factor
from tensornet_jax.spectra.raman import RamanSpectrum, raman_spectrum
from tensornet_jax.spectra.series_file import Series, read_series
from tensornet_jax.spectra.windows import WINDOWS, lag_window

__all__ = [
    "CORRECTIONS",
    "WINDOWS",
    "Average",
    "Conductivity",
    "RamanSpectrum",
    "Series",
    "Spectrum",
    "block_average",
    "infrared_spectrum",
    "lag_window",
    "quantum_factor",
    "raman_spectrum",
    "read_series",
    "spectral_density",
    "thermal_conductivity",
]
