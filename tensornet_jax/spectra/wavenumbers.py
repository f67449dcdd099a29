"""Wavenumbers, cm⁻¹, and the constants that lead to them from fs and K."""

from ase import units

SPEED_OF_LIGHT = units._c * 1e-13
"""cm/fs."""

PLANCK = units._hplanck * units._c * 100 / units._e
"""h c in eV per cm⁻¹."""

BOLTZMANN = units.kB
"""eV/K."""
