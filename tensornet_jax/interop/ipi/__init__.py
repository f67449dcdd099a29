"""A potential behind i-PI: its forces for path integrals and whatever else i-PI samples."""

from tensornet_jax.interop.ipi.client import Driver
from tensornet_jax.interop.ipi.connection import Address
from tensornet_jax.interop.ipi.evaluation import Beads

__all__ = ["Address", "Beads", "Driver"]
