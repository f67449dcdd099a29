"""Potentials with heads for several levels of theory: one of the heads, several as one, more.

A head is what belongs to a level of theory alone: reference energies, energy scale, read-outs. All
else is common. Which variables have an axis of heads follows from their shapes with one head and
with several, so that nothing has to be known of any model.
"""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.heads.levels import LEVEL_SCALES
from tensornet_jax.models.parameter_paths import by_path, nested
from tensornet_jax.potential.elements import variable_sizes, with_elements
from tensornet_jax.potential.potential import ElementTable, Potential
from tensornet_jax.potential.trained_on import Metadata
from tensornet_jax.potential.uncertainty.stored import without_uncertainty

SCALES = f"buffers/{LEVEL_SCALES}"
ENTRY = "heads"
"""Of a potential's metadata: what is known of the origin of each head, by its name."""
UNNAMED = "default"
"""What the head of a potential without named ones is called once there are others."""


def with_head(potential: Potential, name: str | None) -> Potential:
    """Return the potential of one level of theory, which is as one that never had others.

    It knows the elements that have a reference energy there.

    Args:
        potential: not changed.
        name: of the head; None for the only one.

    Raises:
        ValueError: there are several and none is named, or none has that name.
    """
    config = potential.config
    if name is None:
        config.require_one_level()
        return potential
    if name not in config.levels:
        raise ValueError(
            f"this model has no head {name!r}, only {', '.join(config.levels)}"
            if config.levels
            else f"this model has one head without a name, and not {name!r}: name none"
        )
    if config.num_levels == 1:
        return potential
    place = config.levels.index(name)
    known = potential.elements.of_head(place).numbers
    if not known:
        raise ValueError(f"head {name} has no reference energy of any element")
    found = _taken(potential, place)
    return found if known == found.elements.numbers else with_elements(found, known)


def joined(potentials: Mapping[str, Potential]) -> Potential:
    """Return one potential with the heads of several that have all else in common.

    It has no uncertainty, which is of one head: whoever takes that head gives it one.

    Args:
        potentials: with one head each, by the names that the heads are to have.

    Raises:
        ValueError: there are fewer than two, or they differ in more than their heads.
    """
    names, each = tuple(potentials), list(potentials.values())
    if len(each) < 2:
        raise ValueError(f"several potentials are needed for several heads, not {len(each)}")
    first = each[0]
    config, numbers = _joined_config(names, each), first.elements.numbers
    for own in each:
        same = own.elements.numbers == numbers and own.dtype == first.dtype
        if not same or own.energy_offset != first.energy_offset:
            raise ValueError("potentials to join differ in elements, precision or energy offset")
    stacked = depending_on_heads(config, numbers)
    leaves = [by_path(without_uncertainty(own).variables) for own in each]
    found = {}
    with first.precision():
        for path, leaf in leaves[0].items():
            rows = [np.asarray(own[path]) for own in leaves]
            if path in stacked:
                found[path] = jnp.asarray(np.stack(rows, _axis_of_heads(config, path)))
            elif all(np.array_equal(row, rows[0]) for row in rows[1:]):
                found[path] = leaf
            else:
                raise ValueError(f"potentials to join differ in {path}, which is no part of a head")
        scales = [own.energy_scale / first.energy_scale for own in each]
        found[SCALES] = jnp.asarray(scales, first.dtype)
    energies = np.stack([own.elements.reference_energies for own in each])
    return first.replace(
        config=config,
        variables={"params": {}, "buffers": {}} | nested(found),
        elements=ElementTable(numbers, energies),
        metadata={
            ENTRY: {name: without_uncertainty(own).metadata for name, own in potentials.items()}
        },
    )


def with_more_heads(potential: Potential, like: Mapping[str, str | None]) -> Potential:
    """Return the potential with heads that begin as copies of others; the others stay the same.

    As `joined` it has no uncertainty. A head without a name is called `UNNAMED` from then on.

    Args:
        potential: with one head or several; not changed.
        like: new head → the one it begins as, None for the only one.

    Raises:
        ValueError: a new head has the name of another, or is like one that is not there.
    """
    old = potential.config.levels or (UNNAMED,)
    for name, model in like.items():
        if name in old:
            raise ValueError(f"this model has a head {name} already: {', '.join(old)}")
        if model is None:
            potential.config.require_one_level()
        elif model not in old:
            raise ValueError(
                f"head {name} cannot begin as {model!r}: the model has {', '.join(old)}"
            )
    if not like:
        return potential
    places = {name: k for k, name in enumerate(old)}
    places |= {name: places[old[0] if model is None else model] for name, model in like.items()}
    found = joined({name: _taken(potential, place) for name, place in places.items()})
    table = np.atleast_2d(potential.elements.reference_energies)
    elements = ElementTable(potential.elements.numbers, table[[*places.values()]])
    return found.replace(elements=elements, metadata=without_uncertainty(potential).metadata)


def level_scales(potential: Potential) -> tuple[float, ...]:
    """Return the energy scale of each head, eV."""
    if potential.config.num_levels == 1:
        return (potential.energy_scale,)
    scales = np.asarray(potential.variables["buffers"][LEVEL_SCALES], np.float64)
    return tuple((potential.energy_scale * scales).tolist())


def with_level_scales(potential: Potential, scales: Sequence[float]) -> Potential:
    """Return a potential with several heads with other energy scales.

    Args:
        potential: not changed.
        scales: of each head, in units of the potential's own.
    """
    with potential.precision():
        own = jnp.asarray(scales, potential.dtype)
        buffers = {**potential.variables["buffers"], LEVEL_SCALES: own}
    return potential.replace(variables={**potential.variables, "buffers": buffers})


def _taken(potential: Potential, place: int) -> Potential:
    """Return one head with all elements; the energies of those that it does not know are 0."""
    config, table = potential.config, potential.elements
    if config.num_levels == 1:
        return potential
    name = config.levels[place]
    priors = tuple(
        prior.model_copy(
            update={"scale": prior.scale * prior.head_scales[place], "head_scales": ()}
        )
        if prior.head_scales
        else prior
        for prior in config.priors
    )
    stacked, leaves = depending_on_heads(config, table.numbers), by_path(potential.variables)
    scale = float(np.asarray(leaves.pop(SCALES))[place])
    with potential.precision():
        own = {
            path: jnp.take(leaf, place, _axis_of_heads(config, path)) if path in stacked else leaf
            for path, leaf in leaves.items()
        }
    return potential.replace(
        config=config.model_copy(update={"levels": (name,), "priors": priors}),
        variables={"params": {}, "buffers": {}} | nested(own),
        elements=ElementTable(table.numbers, np.nan_to_num(table.reference_energies[place])),
        energy_scale=potential.energy_scale * scale,
        metadata=_metadata_of(potential.metadata, name),
    )


def _axis_of_heads(config: ModelConfig, path: str) -> int:
    """Return which axis of a variable runs over heads: members of a committee come before them."""
    return 1 if config.committee and path.startswith("params/") else 0


def _metadata_of(metadata: Metadata, name: str) -> Metadata:
    if ENTRY not in metadata:
        return metadata
    common = {key: value for key, value in metadata.items() if key != ENTRY}
    return common | metadata[ENTRY].get(name, {})


def depending_on_heads(config: ModelConfig, numbers: tuple[int, ...]) -> frozenset[str]:
    """Return the paths of a model's variables that have an axis of heads.

    It is the first, or the second after that of a committee's members.

    Args:
        config: of a model with several heads.
        numbers: its element table.
    """
    one = config.model_copy(update={"levels": ()})
    with_axis = variable_sizes(config, numbers)
    return frozenset(
        path for path, shape in variable_sizes(one, numbers).items() if with_axis[path] != shape
    )


def _joined_config(names: tuple[str, ...], potentials: Sequence[Potential]) -> ModelConfig:
    """Return the configuration of all heads: that of each, but for scales of priors."""
    configs = [own.config for own in potentials]
    for config in configs:
        config.require_one_level()

    def common(config: ModelConfig) -> ModelConfig:
        priors = tuple(prior.model_copy(update={"scale": 1.0}) for prior in config.priors)
        return config.model_copy(update={"levels": (), "priors": priors})

    if any(common(config) != common(configs[0]) for config in configs):
        raise ValueError("potentials to join are of different models or settings")
    priors = []
    for own in zip(*(config.priors for config in configs), strict=True):
        scales = tuple(prior.scale for prior in own)
        if len(set(scales)) == 1:
            priors.append(own[0])
        else:
            priors.append(own[0].model_copy(update={"scale": 1.0, "head_scales": scales}))
    return configs[0].model_copy(update={"levels": names, "priors": tuple(priors)})
