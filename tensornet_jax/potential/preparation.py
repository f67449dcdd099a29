"""What a model needs of a structure before it is asked, and what it cannot be asked."""

from collections.abc import Mapping, Sequence

import ase

from tensornet_jax.graph.structure import Structure, make_structure
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.properties import Property


def prepare_structure(
    config: ModelConfig,
    numbers: Sequence[int],
    atoms: ase.Atoms,
    where: str = "",
    skin: float = 0.0,
) -> Structure:
    """Prepare a structure for a model: lists of pairs, charges and spin, as far as it needs them.

    Args:
        config: of the model.
        numbers: element table.
        atoms: the structure; not changed.
        where: how messages name the structure.
        skin: Å the lists reach beyond their cutoffs.

    Raises:
        ValueError: what `make_structure` refuses, a charge or spin that the model cannot see or
            does not know, or a head that a model with several does not have.
    """
    structure = make_structure(
        atoms,
        numbers,
        config.cutoff,
        where,
        long_range=config.long_range,
        charged=config.needs_charges,
        with_spin=config.needs_spin,
        head=level_of(config, atoms, where) if config.num_levels > 1 else None,
        skin=skin,
    )
    check_visible(config, structure.charge, None, where)
    config.check_state(structure.charge, structure.spin, where)
    return structure


def level_of(config: ModelConfig, atoms: ase.Atoms, where: str = "") -> int:
    """Return the place of a structure's head among those of a model: `atoms.info["head"]`.

    Args:
        config: of a model with several heads.
        atoms: the structure.
        where: how messages name it.

    Raises:
        ValueError: it names none, or one that the model does not have.
    """
    name = atoms.info.get("head")
    if name is None:
        try:
            config.require_one_level()
        except ValueError as error:
            raise ValueError(f'{error}, or give structures atoms.info["head"]{where}') from None
    if name not in config.levels:
        raise ValueError(
            f"this model has no head {name!r}{where}, only {', '.join(config.levels)}: correct "
            'atoms.info["head"]'
        )
    return config.levels.index(str(name))


def check_visible(
    config: ModelConfig, charge: float | None, spin: int | None, where: str = ""
) -> None:
    """Raise ValueError where a model is asked for a charge or a spin on which nothing depends.

    Args:
        config: of the model.
        charge: total charge, e; 0 and None ask for nothing.
        spin: multiplicity; None asks for nothing.
        where: how the message names the structure.
    """
    blind = {"charge": charge and not config.sees_charge, "spin": spin and not config.needs_spin}
    for name, asked in (("charge", charge), ("spin", spin)):
        if blind[name]:
            raise ValueError(
                f"{name} {asked:g}{where}: nothing this model ({config.name}) predicts depends on "
                f"the {name}; train one with {name} in model.electronic_state, or, if the {name} "
                "does not matter, leave it out of the structure"
            )


def properties_at_hand(
    rows: Mapping[str, Property], *, periodic: bool, has_volume: bool, on_request: bool = False
) -> tuple[str, ...]:
    """Return what one pass gives of a structure: neither costly, nor named twice, nor senseless.

    Args:
        rows: what the model predicts, by name.
        on_request: also what is to be computed only where it is asked for.
        periodic: whether the structure is, in any direction.
        has_volume: whether its cell has one that a stress is wanted for.
    """
    return tuple(
        name
        for name, row in rows.items()
        if not row.costly
        and (on_request or not row.on_request)
        and name != "free_energy"
        and row.why_not(periodic=periodic, has_volume=has_volume) is None
    )
