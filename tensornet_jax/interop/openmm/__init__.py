"""A potential in OpenMM, through openmm-ml: of a whole system, or of its ML part.

    from openmmml import MLPotential

    potential = MLPotential("tensornet_jax", modelPath="model.safetensors")
    system = potential.createSystem(topology)

openmm-ml finds the factory by this package's entry point.
"""

# Before the factory: openmm-ml imports that one itself when it reads the entry points.
import openmmml  # noqa: F401

from tensornet_jax.interop.openmm.factory import TensorNetFactory, TensorNetImpl

__all__ = ["TensorNetFactory", "TensorNetImpl"]
