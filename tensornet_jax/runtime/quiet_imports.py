"""e3nn-jax, imported without the warning that its version 0.21 raises on Python 3.13.

The package and its tests take it from here, so that Python's `-W error` stops nobody whose own code
is in order. Only this one warning is passed over, and only while e3nn-jax is imported.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings(
        "ignore", "Creating NamedTuple classes using keyword arguments", DeprecationWarning
    )
    import e3nn_jax as e3nn_jax

__all__ = ["e3nn_jax"]
