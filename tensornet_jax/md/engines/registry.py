"""The engines by name. A new one is a module with a subclass of `Dynamics`, and an entry here."""

from collections.abc import Iterator
from dataclasses import dataclass

from tensornet_jax.config import KeyPath
from tensornet_jax.md.engines.capabilities import Capabilities, Demand, EnsemblesWith, lacks


@dataclass(frozen=True)
class Relaxing:
    """How an engine relaxes structures.

    home: the module of its function.
    function_name: the name of the function, a `Relaxer`.
    optimizers: their names; the first is taken where none is asked for.
    symmetry: whether it can keep the space group.
    together: whether it relaxes several structures at once.
    """

    home: str
    function_name: str
    optimizers: tuple[str, ...]
    symmetry: bool = False
    together: bool = False


@dataclass(frozen=True)
class Engine:
    """An engine, which is imported when it is used: checking a configuration needs no jax.

    home: its module.
    class_name: its class there, a `Dynamics`.
    about: what it is, for the configuration's template.
    can: what it can do.
    relaxing: how it relaxes structures; None if it does not.
    """

    home: str
    class_name: str
    about: str
    can: Capabilities
    relaxing: Relaxing | None = None


ENGINES: dict[str, Engine] = {
    "device": Engine(
        "tensornet_jax.md.engines.device",
        "Simulation",
        "everything in one compiled loop",
        Capabilities(
            ensembles=EnsemblesWith("integrator"),
            ramps=frozenset({"temperature", "pressure"}),
            constraints=frozenset({"FixAtoms"}),
            many_structures=True,
            stress=True,
            records=True,
            checks=True,
        ),
        Relaxing("tensornet_jax.md.relaxers", "relax_on_device", ("lbfgs", "fire"), together=True),
    ),
    "ase": Engine(
        "tensornet_jax.md.engines.ase",
        "AseSimulation",
        "ASE's dynamics with the calculator, step by step, with all of ASE's constraints",
        Capabilities(
            ensembles=EnsemblesWith("ase_dynamics"),
            ramps=frozenset({"temperature"}),
            constraints=None,
            stress=True,
            records=True,
            checks=True,
        ),
        Relaxing(
            "tensornet_jax.md.relaxers", "relax_with_ase", ("bfgs", "lbfgs", "fire"), symmetry=True
        ),
    ),
}
"""Name in a configuration → engine."""


def refusals(name: str, demand: Demand) -> Iterator[tuple[KeyPath, str]]:
    """Yield the key of everything that an engine cannot do, and the reason with what to do.

    Args:
        name: of the engine.
        demand: what a simulation asks for.
    """
    for lack in lacks(ENGINES[name].can, demand):
        others = [
            other
            for other, engine in ENGINES.items()
            if lack.key not in [each.key for each in lacks(engine.can, demand)]
        ]
        remedy = f"use engine: {' or '.join(others)}" if others else lack.remedy
        yield lack.key, f"engine {name} has no {lack.what}: {remedy}"
