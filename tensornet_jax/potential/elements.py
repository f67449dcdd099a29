"""Other elements for a trained potential: some dropped, some added, in another order."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.parameter_paths import by_path, nested
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential


def with_elements(
    potential: Potential,
    numbers: Sequence[int],
    reference_energies: Mapping[int, float] | None = None,
    like: Mapping[int, int] | None = None,
) -> Potential:
    """Return the potential with another element table; what it says of old elements stays the same.

    What the network keeps for each element (embeddings, weights that depend on the element) is
    dropped with the elements that are not wanted, and extended for new ones. A new element begins
    as a copy of the one it is said to be like, or else as the mean of the known ones, and has to be
    trained. Buffers, which are not trained, get what the model creates for the new elements.

    Args:
        potential: not changed.
        numbers: atomic numbers wanted, in the order wanted.
        reference_energies: of new elements, atomic number → eV.
        like: new element → known element that it is to resemble.

    Raises:
        ValueError: a new element has no reference energy, or is like an unknown one.
    """
    old, table = list(potential.elements.numbers), tuple(int(number) for number in numbers)
    given, like = dict(reference_energies or {}), dict(like or {})
    missing = [number for number in table if number not in old and number not in given]
    if missing:
        raise ValueError(
            f"no reference energy for {_symbols(missing)}, which the model does not know"
        )
    strange = [number for number in like.values() if number not in old]
    if strange:
        raise ValueError(f"{_symbols(strange)} is not among the model's elements {_symbols(old)}")
    # One row after the old ones stands for the mean.
    rows = [
        old.index(number)
        if number in old
        else old.index(like[number])
        if number in like
        else len(old)
        for number in table
    ]
    elements = ElementTable(table, _energies(potential.elements, table, given))
    axes = species_axes(potential.config, potential.elements.numbers)
    added = np.array([number not in old for number in table])
    fresh = {}
    if added.any() and any(axes[path] for path in axes if path.startswith("buffers/")):
        created = create_potential(potential.config, elements, seed=0, dtype=potential.dtype)
        fresh = by_path(created.variables)
    leaves = {}
    with potential.precision():
        for path, leaf in by_path(potential.variables).items():
            value = np.asarray(leaf)
            for axis in axes.get(path, ()):
                value = _picked(value, axis, rows)
            if path.startswith("buffers/") and fresh:
                value = _replaced(value, np.asarray(fresh[path]), axes[path], added)
            leaves[path] = jnp.asarray(value)
    variables = {"params": {}, "buffers": {}} | nested(leaves)
    return potential.replace(variables=variables, elements=elements)


def _energies(
    old: ElementTable, table: Sequence[int], given: Mapping[int, float]
) -> Float[np.ndarray, "*heads elements"]:
    """Reference energies of other elements; given ones are those of all heads."""
    rows = np.atleast_2d(old.reference_energies)
    found = [
        [(dict(given) | dict(zip(old.numbers, row, strict=True)))[number] for number in table]
        for row in rows
    ]
    return np.array(found if old.reference_energies.ndim > 1 else found[0])


def species_axes(config: ModelConfig, numbers: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return which axes of a model's variables run over its elements.

    They are those that change when the model is asked for one more element. An axis that only
    happens to be as long as the element table does not, so nothing has to be known of any model,
    and what a new model keeps for each element is found too.

    Args:
        config: of the model.
        numbers: its element table.

    Returns:
        path of each parameter and buffer ("params/embedding", …) → its axes over the elements, most
        often none.

    Raises:
        ValueError: something depends on the number of elements in another way.
    """
    other = _other_table(numbers)
    now, then = variable_sizes(config, numbers), variable_sizes(config, other)
    sizes, axes = (len(numbers), len(other)), {}
    for path in now.keys() | then.keys():
        before, after = now.get(path), then.get(path)
        changed = None
        if before is not None and after is not None and len(before) == len(after):
            changes = list(enumerate(zip(before, after, strict=True)))
            changed = {axis: change for axis, change in changes if change[0] != change[1]}
        if changed is None or set(changed.values()) - {sizes}:
            raise ValueError(
                f"{path} of model {config.name} has shape {before} and with another number of "
                f"elements {after}: only axes that run over the elements alone can be extended or "
                "shortened"
            )
        axes[path] = tuple(changed)
    return axes


def depending_on_elements(config: ModelConfig, numbers: tuple[int, ...]) -> frozenset[str]:
    """Return the paths of a model's variables whose shape depends on the number of elements.

    Args:
        config: of the model.
        numbers: its element table.
    """
    now, then = variable_sizes(config, numbers), variable_sizes(config, _other_table(numbers))
    return frozenset(path for path, shape in now.items() if then.get(path) != shape)


def _other_table(numbers: tuple[int, ...]) -> tuple[int, ...]:
    others = [number for number in range(len(chemical_symbols)) if number not in numbers]
    return (*numbers, others[-1]) if others else numbers[:-1]


def variable_sizes(config: ModelConfig, numbers: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's variables by their paths; computes nothing.

    Args:
        config: of the model.
        numbers: its element table.
    """
    potential = Potential(config, {}, ElementTable(numbers, np.zeros(len(numbers))))
    return {path: leaf.shape for path, leaf in by_path(potential.variable_shapes()).items()}


def _picked(value: np.ndarray, axis: int, rows: Sequence[int]) -> np.ndarray:
    mean = np.mean(value, axis, np.float64, keepdims=True).astype(value.dtype)
    return np.take(np.concatenate([value, mean], axis), rows, axis)


def _replaced(
    value: np.ndarray, fresh: np.ndarray, axes: tuple[int, ...], added: np.ndarray
) -> np.ndarray:
    """Take entries that belong to an added element, on any axis, from `fresh`."""
    new = np.zeros(value.shape, bool)
    for axis in axes:
        new |= np.expand_dims(added, tuple(k for k in range(value.ndim) if k != axis))
    return np.where(new, fresh, value)


def _symbols(numbers: Sequence[int]) -> str:
    return ", ".join(chemical_symbols[number] for number in numbers)
