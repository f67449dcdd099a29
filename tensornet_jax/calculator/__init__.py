"""The ASE calculator of all models."""

from tensornet_jax.calculator.ase_calculator import TensorNetCalculator

__all__ = ["TensorNetCalculator"]
