"""What each of several files gave is told under its name."""

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.by_file import file_lines
from tensornet_jax.data.labels.labels import LabelConfig, Labels


def read_from(name: str, count: int, **keys: str) -> list[LabelledStructure]:
    made = []
    for index in range(count):
        atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + index]])
        labels: dict[str, ArrayLike] = {"energy": -1.0}
        if index == 0 and "forces" in keys:
            labels["forces"] = np.zeros((2, 3))
        source = f"{name}:{index}"
        made.append(LabelledStructure(atoms, Labels(2, labels), source=source, keys=keys))
    return made


def test_files_are_told_with_keys_units_and_what_is_missing():
    hartree = LabelConfig.model_validate({"units": {"energy": "Hartree"}})
    lines = file_lines(
        [
            (LabelConfig(), read_from("a.xyz", 3, energy="E", forces="F")),
            (hartree, read_from("b.xyz", 2, energy="dft")),
        ]
    )
    assert lines == [
        "2 files:",
        "  a.xyz: 3 structures; energy from E, forces from F (1 of them)",
        "  b.xyz: 2 structures; energy from dft; read in energy Hartree",
    ]


def test_one_file_needs_no_line_and_hundreds_are_cut_short():
    assert file_lines([(LabelConfig(), read_from("a.xyz", 3))]) == []
    many = [each for k in range(50) for each in read_from(f"{k}.xyz", 1)]
    lines = file_lines([(LabelConfig(), many)])
    assert len(lines) == 22
    assert lines[-1] == "  and 30 more"
