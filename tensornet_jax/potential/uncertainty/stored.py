"""An uncertainty among the arrays of a model file."""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Protocol

from tensornet_jax.models.config import ModelConfig
from tensornet_jax.potential.uncertainty.deviations import COLLECTION
from tensornet_jax.runtime.sealed_file import Arrays

if TYPE_CHECKING:
    from tensornet_jax.potential.potential import Potential

PREFIX = f"{COLLECTION}/"
SCALED = ("energy", "forces", "stress")
"""What has a scale of its own; energies of atoms have that of the energy."""


class HasShape(Protocol):
    """An array, or what says of one how large it is."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        ...


def expected_uncertainty(
    config: ModelConfig,
    variables: Mapping[str, HasShape],
    tensors: Arrays,
    dtype: str,
) -> dict[str, str]:
    """Return dtype and shape, in one word, of each array of the uncertainty a file has, by path.

    What may be as wide as it likes is taken from the file. Nothing if the file has no uncertainty.

    Args:
        config: of the model.
        variables: its parameters by path.
        tensors: all arrays of the file by path.
        dtype: of the model.
    """
    if not any(path.startswith(PREFIX) for path in tensors):
        return {}

    def width(name: str, axis: int) -> int:
        shape = tensors[PREFIX + name].shape if PREFIX + name in tensors else ()
        return shape[axis] if len(shape) == 2 else 1

    size = config.committee or sum(
        prod(variables[f"params/{path}"].shape) for path in config.last_weights
    )
    shapes: dict[str, tuple[int, ...]] = {
        name: (size, width(name, 1)) for name in ("factor", "directions")
    }
    shapes |= {f"scales/{name}": () for name in SCALED}
    for name in SCALED:
        curve = f"isotonic/{name}"
        if PREFIX + curve in tensors:
            shapes[curve] = (2, width(curve, 1))
    return {PREFIX + name: f"{dtype}{shape}" for name, shape in shapes.items()}


def without_uncertainty(potential: "Potential") -> "Potential":
    """Return a potential that does not say how sure it is, and nothing of how that was found."""
    variables = {k: v for k, v in potential.variables.items() if k != COLLECTION}
    metadata = {k: v for k, v in potential.metadata.items() if k != COLLECTION}
    return potential.replace(variables=variables, metadata=metadata)
