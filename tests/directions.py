"""Directions at which a frame of an edge, or an angle of it, may lose its derivative."""

import numpy as np

AXES = np.concatenate([np.eye(3), -np.eye(3)])


def special_directions() -> np.ndarray:
    """Both ways along each axis, exactly and tilted in three directions by 1e-2 … 1e-8."""
    tilts = np.random.default_rng(5).normal(size=(3, 3))
    tilted = [a + t * 10.0**-k for a in AXES for k in (2, 4, 6, 8) for t in tilts]
    return np.concatenate([AXES, tilted])
