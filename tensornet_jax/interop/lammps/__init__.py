"""A potential as the forces of LAMMPS, on one process or on many over MPI."""

from tensornet_jax.interop.lammps.attach import AttachedPotential, attach

__all__ = ["AttachedPotential", "attach"]
