"""One small potential of each kind that a configuration can ask for."""

from functools import cache
from typing import Any

import jax
import numpy as np

from tensornet_jax.models import MODELS
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential

SMALL: dict[str, dict[str, Any]] = {
    "tensornet": {"num_channels": 8, "num_layers": 1, "num_radial": 6, "envelope": "polynomial"},
    "tensornet2": {
        "num_channels": 8,
        "num_layers": 1,
        "num_radial": 6,
        "num_charges": 3,
        "charge_weights": [0.5, 1.0],
        "coulomb": {"cutoff": 4.5},
        "envelope": "polynomial",
    },
    "mace": {"num_channels": 4, "l_max": 2, "radial_widths": [8], "avg_num_neighbors": 6.0},
    "escn": {
        "num_channels": 6,
        "hidden_channels": 4,
        "l_max": 2,
        "radial_widths": [8],
        "readout_width": 8,
        "avg_num_neighbors": 6.0,
    },
}

VARIANTS: dict[str, dict[str, Any]] = {
    "tensornet": {},
    "tensornet SO(3)": {"group": "SO(3)"},
    "tensornet2": {},
    "tensornet2 SO(3)": {"group": "SO(3)", "coulomb": None, "readout_layers": 2},
    "tensornet as MatGL": {
        "radial": "smooth_bessel",
        "num_radial": 3,
        "self_edges": False,
        "total_charge": False,
        "readout": "gated",
    },
    "tensornet of own messages": {"messages": "own", "self_edges": False},
    "mace": {},
    "mace of many bodies": {"correlation": 4, "num_layers": 1, "l_max": 1},
    "mace SO(3)": {"group": "SO(3)", "correlation": 2},
    "mace gaunt_grid": {"product": "gaunt_grid"},
    "mace gaunt_fourier": {"product": "gaunt_fourier"},
    "mace matrix": {"product": "matrix"},
    "mace vector_signal": {"product": "vector_signal"},
    "mace vector_signal SO(3)": {"product": "vector_signal", "group": "SO(3)"},
    "mace of two products": {"many_body_product": "gaunt_grid", "hidden_l_max": 2},
    "mace as mace-torch": {
        "parametrization": "mace",
        "correlation": 2,
        "neighbor_normalization": "density",
        "distance_transform": "agnesi",
    },
    "mace gated": {
        "interaction": "gated",
        "cutoff_function": "messages",
        "correlation": 2,
        "species_in_many_body": False,
    },
    "escn": {"m_max": None},
    "escn truncated": {"m_max": 1},
    "escn SO(3)": {"group": "SO(3)"},
    "escn grid": {"activation": "grid"},
}
"""Name, which begins with that of the model → what differs from the small model."""

SLOW = (
    "tensornet SO(3)",
    "tensornet of own messages",
    "tensornet2 SO(3)",
    "mace of many bodies",
    "mace as mace-torch",
    "mace SO(3)",
    "mace gaunt_fourier",
    "mace matrix",
    "mace vector_signal",
    "mace of two products",
    "escn",
    "escn SO(3)",
    "escn grid",
)
"""What differs least from the others."""

NUMBERS = (1, 6, 8, 14)


@cache
def small_model(variant: str, dtype: str = "float64") -> Potential:
    """Return an untrained potential whose forces are of an eV/Å."""
    name = variant.split()[0]
    options = {"name": name, "cutoff": 3.5} | SMALL[name] | VARIANTS[variant]
    config = MODELS[name][0].model_validate(options)
    elements = ElementTable(NUMBERS, np.zeros(len(NUMBERS)))
    potential = create_potential(config, elements, seed=0, dtype=dtype, energy_scale=5.0)
    # Weights that start at one or zero would leave some terms untested.
    rng = np.random.default_rng(0)

    def moved(leaf: jax.Array) -> np.ndarray:
        return np.asarray(leaf) + 0.1 * rng.normal(size=leaf.shape).astype(leaf.dtype)

    params = jax.tree.map(moved, potential.variables["params"])
    return potential.replace(variables=potential.variables | {"params": params})
