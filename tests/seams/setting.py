"""A potential of some kind and structures on disk, as a user has them."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np

from tensornet_jax.potential.model_file import save_model
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.programs import program_of
from tensornet_jax.potential.results import Results
from tests.seams.variants import HEAD, SIZES, potential, properties, structure

# Files keep eight digits of positions, and repulsive nuclei are steep.
ENERGY = 1e-5  # eV
FORCES = 1e-5  # eV/Å
MESH = 30.0  # how much less exact energies of 512 charges are, 2e-4 eV when translated


@dataclass(frozen=True)
class Setting:
    """A potential and structures on disk, and the command line.

    Attributes:
        cli: runs `tensornet-jax` in `folder`.
        folder: holds model.safetensors, structures.xyz (one of each size) and labelled.xyz.
        variant: of VARIANTS.
    """

    cli: Callable[..., Any]
    folder: Path
    variant: str

    @classmethod
    def made(cls, cli: Callable[..., Any], folder: Path, variant: str) -> "Setting":
        """Write the files of a kind of potential."""
        self = cls(cli, folder, variant)
        self._make_arrays_of_few_sizes()
        save_model(folder / "model.safetensors", self.potential)
        frames = self.structures()
        ase.io.write(folder / "structures.xyz", frames, format="extxyz")
        for atoms, found in zip(frames, self.expected(frames), strict=True):
            put_labels(atoms, found, self.potential)
        ase.io.write(folder / "labelled.xyz", frames, format="extxyz")
        return self

    def _make_arrays_of_few_sizes(self) -> None:
        """Let small structures share programs, and those that moved: compiling takes the time."""
        ladder = program_of(self.potential.module).ladder
        structures = [self.potential.structure(atoms) for atoms in self.structures()]
        ladder.choose_for_each([[each] for each in structures[:2]], 1.4)
        for several in (structures[2:], structures):
            ladder.fit(several, 1.4)

    @property
    def potential(self) -> Potential:
        """The potential."""
        return potential(self.variant)

    @property
    def head(self) -> tuple[str, ...]:
        """The option that chooses one of several heads."""
        return ("--head", HEAD) if self.potential.config.num_levels > 1 else ()

    @property
    def common(self) -> tuple[str, ...]:
        """What it predicts of structures of all sizes."""
        sets = [set(properties(self.potential, atoms)) for atoms in self.structures()]
        return tuple(sorted(set.intersection(*sets)))

    def structures(self) -> list[ase.Atoms]:
        """Return one structure of each size."""
        return [structure(self.potential, size) for size in SIZES]

    def expected(self, frames: Sequence[ase.Atoms]) -> list[Results]:
        """Evaluate structures, each alone and always with the same properties.

        All commands then share the programs, and what packs structures together is compared with
        what does not.
        """
        return self.potential.evaluate(frames, self.common, batch_size=1)

    def read(self, name: str) -> list[ase.Atoms]:
        """Return all structures of a file in the folder."""
        frames = ase.io.read(self.folder / name, ":")
        assert isinstance(frames, list)
        return frames

    def succeed(self, *arguments: Any, codes: tuple[int, ...] = (0,)) -> Any:
        """Run a command that has to end with one of these exit codes; return its result."""
        result = self.cli(*arguments)
        assert result.exit_code in codes, f"{arguments}: {result.stderr or result.exception!r}"
        return result

    def check_frames(self, frames: Sequence[ase.Atoms]) -> None:
        """Check the energies and forces that come with structures against the potential."""
        # The mesh of a particle-mesh Ewald sum stands still while atoms move as a whole.
        mesh = MESH if self.potential.config.coulomb_ranges else 1.0
        for atoms, expected in zip(frames, self.expected(frames), strict=True):
            assert atoms.calc is not None
            found = atoms.calc.results
            for name, tolerance in (("energy", ENERGY), ("forces", FORCES)):
                np.testing.assert_allclose(
                    found[name], expected[name], rtol=1e-12, atol=mesh * tolerance
                )


def put_labels(atoms: ase.Atoms, found: Mapping[str, Any], potential: Potential) -> None:
    """Give a structure predictions as labels, under the names that are read by themselves."""
    tensors = {head.name for head in potential.tensor_heads}
    for name, value in found.items():
        if name not in {"energy", "forces", "stress", "dipole", *tensors}:
            continue
        key = name if name in tensors else f"REF_{name}"
        if name in potential.per_atom:
            atoms.arrays[key] = value.reshape(len(atoms), -1)
        else:
            atoms.info[key] = value.ravel() if np.ndim(value) else float(value)


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
