"""What to relax, and how far, whatever relaxes it."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, TypeAlias

from tensornet_jax.config import unknown_name
from tensornet_jax.md.engines.registry import ENGINES, Relaxing

CellOfRelaxation: TypeAlias = Literal["none", "full", "lengths", "isotropic", "in-plane"]


@dataclass(frozen=True)
class Relaxation:
    """What to relax, and how far.

    fmax: eV/Å, the largest force at the end; of a cell, N forces of this size along its virial.
    steps: how many at most.
    optimizer: one that the engine has.
    cell: what of the cell relaxes: nothing, all of it ("full"), the lengths along x, y, z, the size
        alone ("isotropic"), or of a slab what lies in its plane.
    pressure: GPa, outside.
    symmetry: keep the space group that the structure has at the beginning; needs spglib.

    Raises:
        ValueError: pressure without a cell that feels it.
        ImportError: symmetry without spglib.
    """

    fmax: float = 0.01
    steps: int = 500
    optimizer: str = "bfgs"
    cell: CellOfRelaxation = "none"
    pressure: float = 0.0
    symmetry: bool = False

    def __post_init__(self) -> None:
        if self.pressure and self.cell in ("none", "in-plane"):
            raise ValueError(
                f"pressure {self.pressure:g} GPa needs a cell that relaxes in all directions, "
                f"and of the cell relaxes: {self.cell}"
            )
        if self.symmetry and find_spec("spglib") is None:
            raise ImportError(
                "symmetry is found with spglib: pip install 'tensornet_jax[symmetry]'"
            )


def relaxing_of(engine: str) -> Relaxing:
    """Return how an engine relaxes structures.

    Raises:
        ValueError: there is no such engine, or it relaxes nothing.
    """
    known = {name: each.relaxing for name, each in ENGINES.items() if each.relaxing is not None}
    if engine not in known:
        raise ValueError(unknown_name(engine, tuple(known), "engine"))
    return known[engine]


def check_engine(engine: str, how: Relaxation, *, together: bool = False) -> None:
    """Raise ValueError, with what to do, for what an engine cannot do.

    Args:
        engine: its name.
        how: what to relax.
        together: whether several structures shall relax at once.
    """
    able = relaxing_of(engine)
    wanted = {
        f"optimizer {how.optimizer} (it has {', '.join(able.optimizers)})": (
            lambda each: how.optimizer in each.optimizers
        ),
        "relaxation that keeps the symmetry": lambda each: each.symmetry or not how.symmetry,
        "relaxation of several structures at once": lambda each: each.together or not together,
    }
    for what, met in wanted.items():
        if not met(able):
            others = [
                name for name, each in ENGINES.items() if each.relaxing and met(each.relaxing)
            ]
            raise ValueError(
                f"engine {engine} has no {what}: use --engine {' or '.join(others)}, or leave it "
                "out"
            )
