"""Potentials as bundles for `pair_style jax/kk` of LAMMPS, written by the package `lammps_jax`."""

from tensornet_jax.interop.lammps_jax.bundle import Bundle, write_bundle

__all__ = ["Bundle", "write_bundle"]
