"""The ASE calculator of all models."""

from tensornet_jax.calculator.ase_calculator import Calculator, TensorNetCalculator

__all__ = ["Calculator", "TensorNetCalculator"]
