"""What an engine can do, as data, and what of a simulation it cannot."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tensornet_jax.config import KeyPath
from tensornet_jax.md.ensembles.ensemble import Ensemble
from tensornet_jax.md.ensembles.registry import ENSEMBLES


class EnsemblesWith(Collection[str]):
    """The names of those registered ensembles that make what an engine takes its steps with."""

    def __init__(self, method: str) -> None:
        """Ask for a method of `Ensemble`: "integrator" or "ase_dynamics"."""
        self._method = method

    def _makes(self, ensemble: type[Ensemble]) -> bool:
        return getattr(ensemble, self._method) is not getattr(Ensemble, self._method)

    def __contains__(self, name: object) -> bool:
        return any(name == each for each in self)

    def __iter__(self) -> Iterator[str]:
        return (name for name, each in ENSEMBLES.items() if self._makes(each))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do. What is not named is refused.

    ensembles: names of those it samples.
    ramps: settings of an ensemble that may change along a run.
    constraints: names of ASE's constraints that it honors; None for all.
    many_structures: whether several structures, or replicas, run at once.
    stress: whether it computes the stress and the pressure.
    records: whether it records properties between samples.
    checks: whether it checks standard deviations against thresholds.
    """

    ensembles: Collection[str]
    ramps: frozenset[str] = frozenset()
    constraints: frozenset[str] | None = frozenset()
    many_structures: bool = False
    stress: bool = False
    records: bool = False
    checks: bool = False


@dataclass(frozen=True)
class Demand:
    """What a simulation asks of its engine.

    ensemble: what is sampled.
    num_structures: how many structures run at once.
    stress: whether the stress is asked for.
    records: whether properties are recorded.
    constraints: names of the constraints that structures have.
    checks: whether standard deviations are checked.
    """

    ensemble: Ensemble
    num_structures: int = 1
    stress: bool = False
    records: bool = False
    constraints: frozenset[str] = frozenset()
    checks: bool = False


class Lack(NamedTuple):
    """One thing that an engine cannot do.

    key: where the configuration asks for it.
    what: what the engine lacks, to follow "has no".
    remedy: what to do if no other engine has it either.
    """

    key: KeyPath
    what: str
    remedy: str


def lacks(able: Capabilities, demand: Demand) -> Iterator[Lack]:
    """Yield everything that is asked for and that an engine cannot do."""
    name = demand.ensemble.name
    if name not in able.ensembles:
        known = ", ".join(able.ensembles)
        yield Lack(("ensemble", "name"), f"{name} (it has {known})", f"use one of {known}")
    for setting, _ in demand.ensemble.ramps():
        if setting not in able.ramps:
            yield Lack(("ensemble", setting), f"ramps of the {setting}", "give a number")
    if demand.num_structures > 1 and not able.many_structures:
        what = f"{demand.num_structures} structures at once"
        yield Lack(("replicas",), what, "run them one by one")
    if demand.stress and not able.stress:
        yield Lack(("stress",), "stress", "leave it out")
    if demand.records and not able.records:
        yield Lack(("record",), "records", "leave it out")
    if demand.checks and not able.checks:
        yield Lack(("stop",), "thresholds of standard deviations", "leave stop and mark out")
    if able.constraints is not None:
        for constraint in sorted(demand.constraints - able.constraints):
            only = f" (it has {', '.join(sorted(able.constraints))})" if able.constraints else ""
            remedy = "remove it with atoms.set_constraint()"
            yield Lack(("structure",), f"constraint {constraint}{only}", remedy)
