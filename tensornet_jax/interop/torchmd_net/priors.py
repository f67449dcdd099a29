"""torchmd-net's priors as sections of a model's configuration.

Its own constants are kept, as factors on the energy, so that energies agree. Two of its ways are
kept with them: the Coulomb prior divides by a distance in nm where its constant is for the unit of
positions, which makes the energy ten times what it should be; and screening lengths of ZBL are
float32 in all models. One is not: its D2 prior has no periodic images, ours has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import units

from tensornet_jax.interop.torch.files import Settings
from tensornet_jax.ops.interactions.dispersion import D2_ELEMENTS, d2_parameters
from tensornet_jax.units import COULOMB

ANGSTROM = 1e-10
AVOGADRO = 6.02214076e23
# J·m, torchmd-net's two roundings of e²/(4πε₀).
COULOMB_OF_ZBL, COULOMB_OF_COULOMB = 2.30707755e-28, 2.30707e-28
J = 1 / 1.602176634e-19
"""eV."""


Section = dict[str, object]
"""A prior as a model's configuration has it."""


@dataclass(frozen=True)
class TorchPriors:
    """What the priors of a checkpoint come to.

    sections: of ``priors`` in a model's configuration.
    atomic_energies: name of a tensor (max_z, 1) of energies of isolated atoms, if any counts.
    elements: atomic numbers that all priors have parameters for; None for all.
    tensors: names that are no weights of the network.
    """

    sections: tuple[Section, ...] = ()
    atomic_energies: str | None = None
    elements: tuple[int, ...] | None = None
    tensors: tuple[str, ...] = ()


def read_priors(
    state: Mapping[str, np.ndarray], config: Settings, energy_unit: float
) -> TorchPriors:
    """Translate ``prior_model`` and ``prior_args``.

    Args:
        state: torch names → arrays.
        config: torchmd-net's model arguments.
        energy_unit: eV, of the energies the model was trained on.

    Raises:
        ValueError: a prior this package does not have, one whose arguments are not those of a model
            in Å and the energy unit, or tables that differ from ours; the message names it.
    """
    sections, elements, energies = [], None, None
    listed = _listed(config)
    if not listed and "prior_model.0.atomref.weight" in state:
        listed = [("Atomref", {})]
    tensors = []
    for index, (name, arguments) in enumerate(listed):
        prefix = f"prior_model.{index}."
        tensors += [key for key in state if key.startswith(prefix)]
        if name in ("Atomref", "LearnableAtomref"):
            if arguments.get("enable", True):
                if energies is not None:
                    raise ValueError("torchmd-net prior Atomref is there twice: one is supported")
                energies = f"{prefix}atomref.weight"
            continue
        if name not in _TRANSLATIONS:
            raise ValueError(
                f"torchmd-net prior {name!r} is not supported, only Atomref, "
                f"{', '.join(_TRANSLATIONS)}"
            )
        try:
            sections.append(_TRANSLATIONS[name](arguments, energy_unit))
        except KeyError as error:
            raise ValueError(f"torchmd-net prior {name} lacks its argument {error}") from None
        if name == "D2":
            elements = D2_ELEMENTS
            _check_d2(state, prefix)
    return TorchPriors(tuple(sections), energies, elements, tuple(tensors))


def _listed(config: Settings) -> list[tuple[str, Settings]]:
    """Names and arguments, whichever of torchmd-net's three spellings was used."""
    given = config.get("prior_model") or []
    given = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    listed = []
    for prior in given:
        parts = prior.items() if isinstance(prior, Mapping) else [(prior, None)]
        listed += [(name, dict(arguments or {})) for name, arguments in parts]
    arguments = config.get("prior_args")
    if arguments is None:
        return listed
    arguments = [arguments] if isinstance(arguments, Mapping) else list(arguments)
    if len(arguments) != len(listed):
        raise ValueError(f"{len(listed)} priors with prior_args for {len(arguments)}")
    return [(name, dict(own)) for (name, _), own in zip(listed, arguments, strict=True)]


def _energy_factor(name: str, arguments: Settings, energy_unit: float) -> float:
    """1/J in the model's units of energy, times eV; the scales are checked."""
    length, energy = float(arguments["distance_scale"]), float(arguments["energy_scale"])
    if not np.isclose(length, ANGSTROM, rtol=1e-6, atol=0):
        raise ValueError(
            f"torchmd-net prior {name} has distance_scale {length:g} m: only models in Å, 1e-10 m, "
            "are supported"
        )
    if not np.isclose(energy * J, energy_unit, rtol=1e-3):
        raise ValueError(
            f"torchmd-net prior {name} has energy_scale {energy:g} J, which is {energy * J:.6g} "
            f"eV, and the model's energies are taken to be in units of {energy_unit:.6g} eV: say "
            "energy_unit"
        )
    return energy_unit / energy


def _check_numbers(name: str, arguments: Settings) -> None:
    numbers = [int(number) for number in arguments["atomic_number"]]
    if numbers != list(range(len(numbers))):
        raise ValueError(
            f"torchmd-net prior {name} has atom types that are not atomic numbers: {numbers}"
        )


def _zbl(arguments: Settings, energy_unit: float) -> Section:
    _check_numbers("ZBL", arguments)
    factor = _energy_factor("ZBL", arguments, energy_unit)
    return {
        "name": "zbl",
        "cutoff": float(arguments["cutoff_distance"]),
        "envelope": "cosine",
        "float32_lengths": True,
        "scale": COULOMB_OF_ZBL / ANGSTROM * factor / COULOMB,
    }


def _d2(arguments: Settings, energy_unit: float) -> Section:
    _check_numbers("D2", arguments)
    factor = _energy_factor("D2", arguments, energy_unit)
    return {
        "name": "d2",
        "cutoff": float(arguments["cutoff_distance"]),
        "switch_width": 0.0,
        "scale": factor / AVOGADRO / (units.J / units.mol),
    }


def _coulomb(arguments: Settings, energy_unit: float) -> Section:
    box = arguments.get("initial_box", arguments.get("box_vecs"))
    if box is not None:
        raise ValueError("torchmd-net prior Coulomb with a box is not supported, only molecules")
    factor = _energy_factor("Coulomb", arguments, energy_unit)
    # The switch is in nm, in float32.
    nm = 1e-9 / ANGSTROM
    lower, upper = (np.float32(arguments[f"{end}_switch_distance"]) for end in ("lower", "upper"))
    return {
        "name": "coulomb",
        "switch_from": nm * float(lower),
        "switch_to": nm * (float(lower) + float(upper - lower)),
        "scale": nm * COULOMB_OF_COULOMB / ANGSTROM * factor / COULOMB,
    }


_TRANSLATIONS = {"ZBL": _zbl, "D2": _d2, "Coulomb": _coulomb}


def _check_d2(state: Mapping[str, np.ndarray], prefix: str) -> None:
    c6, radii = d2_parameters()
    ours = {"C_6": c6 / (units.J / units.mol * units.nm**6), "R_r": radii / units.nm}
    for name, expected in ours.items():
        found = state.get(prefix + name)
        if found is not None and not np.allclose(found[1:], expected[1:], rtol=1e-6):
            raise ValueError(f"{prefix}{name} differs from the parameters of Grimme's paper")
