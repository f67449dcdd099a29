"""Which run a restart file belongs to: what must be the same for it to go on.

Settings are kept one by one, so that a later version of the package, whose sections have settings
that this one does not know, reads them: a setting that a file does not name had its default.
"""

import hashlib
import json
from collections.abc import Mapping

import jax
import numpy as np

from tensornet_jax.config import Config
from tensornet_jax.graph.electrons import spin_multiplicity, total_charge
from tensornet_jax.md.engines.dynamics import Dynamics
from tensornet_jax.potential.potential import Potential

# Identities of the first format version have one digest for configuration and parameters.
MODEL = "model"


def identity_of(run: Dynamics) -> dict[str, object]:
    """Return what must be the same in both runs, as JSON."""
    potential, structures = run.potential, run.structures
    needs_charges, needs_spin = potential.config.needs_charges, potential.config.needs_spin
    return json.loads(
        json.dumps(
            {
                "engine": run.engine_name,
                "dtype": potential.dtype,
                MODEL: {
                    "settings": potential.config.model_dump(mode="json"),
                    "parameters": _digest(potential),
                },
                "elements": [each.get_chemical_formula() for each in structures],
                "numbers": [each.numbers.tolist() for each in structures],
                "masses": [each.get_masses().tolist() for each in structures],
                **run.conditions(),
                "pbc": [each.pbc.tolist() for each in structures],
                "charge": [total_charge(each) for each in structures],
                "spin": [spin_multiplicity(each) if needs_spin else None for each in structures],
                "charge of each atom": [
                    each.get_initial_charges().tolist() if needs_charges else None
                    for each in structures
                ],
                "ensemble": run.ensemble.model_dump(mode="json"),
                "timestep": run.timestep,
                "seed": run.seed,
                "replicas": run.replicas,
                "skin": run.skin,
                "record": None if run.record is None else run.record.model_dump(mode="json"),
                "check": None if run.check is None else run.check.model_dump(mode="json"),
            }
        )
    )


def differences(saved: Mapping[str, object], run: Dynamics) -> list[tuple[str, object, object]]:
    """Return name, saved and present value of everything that differs from a saved identity.

    A model of a file of the first version, whose digest nobody can compute any more, is among them:
    `same_digest` tells whether that is so.
    """
    here = identity_of(run)
    settings: dict[str, Config | None] = {"ensemble": run.ensemble, "record": run.record}
    found = []
    for name, value in here.items():
        if name == MODEL:
            same = _same_model(saved.get(name), value, run.potential)
        elif name in settings:
            same = _same(saved.get(name), value, _chosen(settings[name]))
        else:
            same = saved.get(name) == value
        if not same:
            found.append((name, saved.get(name), value))
    return found


def _same_model(saved: object, here: object, potential: Potential) -> bool:
    if isinstance(saved, str):
        return saved == _digest(potential, repr(potential.config).encode())
    chosen = _chosen(potential.config)
    return (
        isinstance(saved, Mapping)
        and isinstance(here, Mapping)
        and saved.get("parameters") == here["parameters"]
        and _same(saved.get("settings"), here["settings"], chosen)
    )


def _chosen(section: Config | None) -> object:
    """Return the settings of a section that are not at their defaults."""
    if section is None:
        return None
    return json.loads(json.dumps(section.model_dump(mode="json", exclude_defaults=True)))


def _same(saved: object, here: object, chosen: object) -> bool:
    """Tell whether settings are those of a file, which may know fewer of them.

    Args:
        saved: settings in the file.
        here: those of now.
        chosen: those of now that are not at their defaults.
    """
    if isinstance(saved, Mapping) and isinstance(here, Mapping):
        chosen = chosen if isinstance(chosen, Mapping) else {}
        return saved.keys() <= here.keys() and all(
            _same(saved[name], value, chosen.get(name)) if name in saved else name not in chosen
            for name, value in here.items()
        )
    if isinstance(saved, list) and isinstance(here, list):
        parts: list[object] = [None] * len(here)
        if isinstance(chosen, list) and len(chosen) == len(here):
            parts = chosen
        return len(saved) == len(here) and all(map(_same, saved, here, parts))
    return saved == here


def _digest(potential: Potential, begun: bytes = b"") -> str:
    """Return a checksum of the parameters, after some other bytes."""
    digest = hashlib.sha256(begun)
    for leaf in jax.tree.leaves(potential.variables):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()
