"""Data sets of several levels of theory, streamed: the same as if they were held in memory."""

import pickle
from pathlib import Path
from typing import Any

import ase
import ase.db
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.data.references_by_head import HeadReferences
from tensornet_jax.data.sources.packing import packing
from tensornet_jax.data.sources.source import Held
from tensornet_jax.models import MODELS
from tensornet_jax.train import preparation
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.data.parts import DataError
from tensornet_jax.train.data.sections import Section
from tensornet_jax.train.data.survey import Survey
from tensornet_jax.train.loading import Loaded, load
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.run import train
from tensornet_jax.train.run_directory import RunDirectory
from tests.data.sources.many import many
from tests.train.levels import PairFeatures, configured, other_level, sections_in
from tests.train.small import PairConfig, Recorder, clusters, same_bits, with_silicon, write

ZERO = {"O": -1000.0, "H": -1000.0, "C": -1000.0}


@pytest.fixture(autouse=True)
def model_with_heads(monkeypatch: pytest.MonkeyPatch, pair_model: None, no_plots: None) -> None:
    """Take it for the stand-in of a model."""
    monkeypatch.setitem(MODELS, "pairs", (PairConfig, PairFeatures))


def held_in(folder: Path) -> list[dict[str, Any]]:
    """Return sections for validation, of both heads."""
    labels = sections_in(folder)[1]["labels"]
    return [
        {"file": write(folder / "v_eV.xyz", clusters(5, 3, periodic=True)), "head": "strong"},
        {"file": write(folder / "v_hartree.xyz", other_level(5, 4)), "head": "weak"}
        | {"labels": labels},
    ]


def run_of(folder: Path, train: Any, validation: Any, stream: bool, **more: Any) -> RunConfig:
    """Return the configuration of a run in a folder of its own, streamed or held in memory."""
    config = configured(folder / f"stream-{stream}", train, validation, **more)
    data = config.data.model_copy(update={"stream": stream})
    return config.model_copy(update={"data": data})


def loaded(config: RunConfig) -> Loaded:
    """Return what the first piece of a run loads, without taking a step."""
    directory = RunDirectory(Path(config.directory))
    directory.path.mkdir(parents=True, exist_ok=True)
    return load(ResolvedRun.of(config).completed(), directory, False, Recorder())


def both_ways(folder: Path, train: Any, validation: Any) -> list[Loaded]:
    """Return what is loaded of data held in memory, and of data that are streamed."""
    return [loaded(run_of(folder, train, validation, stream)) for stream in (False, True)]


def assert_same_data(held: Loaded, streamed: Loaded) -> None:
    one, other = held.data.references, streamed.data.references
    assert isinstance(one, HeadReferences)
    assert isinstance(other, HeadReferences)
    assert (one.heads, one.numbers) == (other.heads, other.numbers)
    np.testing.assert_allclose(other.energies, one.energies, rtol=1e-11)
    assert [t.source for t in one.tables] == [t.source for t in other.tables]
    facts, again = held.facts, streamed.facts
    assert (facts.labelled, facts.trained_on) == (again.labelled, again.trained_on)
    assert again.energy_scale == pytest.approx(facts.energy_scale, rel=1e-12)
    assert again.level_scales == pytest.approx(facts.level_scales, rel=1e-12)
    for mine, theirs in ((held.train, streamed.train), (held.validation, streamed.validation)):
        np.testing.assert_array_equal(mine.sizes.table, theirs.sizes.table)
        for k in range(len(mine)):
            assert_same_example(mine[k], theirs[k])


def assert_same_example(one: Any, other: Any) -> None:
    # Packed files name the file that they were made of too.
    assert other.source.endswith(one.source.rpartition("/")[2])
    assert one.structure.head == other.structure.head
    np.testing.assert_array_equal(one.structure.positions, other.structure.positions)
    assert one.targets.weights == other.targets.weights
    for name in one.targets.weights:
        np.testing.assert_allclose(
            other.targets.of(name), one.targets.of(name), rtol=1e-9, atol=1e-9
        )


def losses(result: Any, name: str) -> list[float]:
    return [row["loss"] for row in read_rows(result.directory / name)]


def test_the_same_steps_are_taken_from_files(tmp_path):
    strong, weak = sections_in(tmp_path)
    # Energies that are counted from what is given are the same to the last bit.
    sections = [
        strong | {"weight": 0.5, "reference_energies": ZERO},
        weak | {"reference_energies": {"O": -900.0, "H": 30.0, "C": 0.0}},
    ]
    held_out = held_in(tmp_path)
    held, streamed = (train(run_of(tmp_path, sections, held_out, s)) for s in (False, True))
    for log in ("log_train.csv", "log_validation.csv"):
        np.testing.assert_allclose(losses(streamed, log), losses(held, log), rtol=1e-10)
    for one, other in zip(held.rows, streamed.rows, strict=True):
        assert (one.data_set, one.property) == (other.data_set, other.property)
        assert other.mae == pytest.approx(one.mae, rel=1e-8, nan_ok=True)
    assert {row.data_set for row in streamed.rows} == {
        f"{name} ({head})" for name in ("train", "validation") for head in ("strong", "weak")
    }
    assert streamed.potential.config.levels == ("strong", "weak")


def database(path: Path, count: int, seed: int) -> str:
    """Write the weaker level of theory into a database of ASE, in Hartree, and return its name."""
    connected: Any = ase.db.connect(path)
    with connected:
        for atoms in other_level(count, seed):
            energy, forces = atoms.info.pop("total"), -atoms.arrays.pop("slope")
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
            connected.write(atoms)
    return str(path)


@pytest.mark.parametrize("suffix", [".db", ".aselmdb"])
def test_databases_and_packed_files_have_heads(tmp_path, suffix):
    if suffix == ".aselmdb":
        pytest.importorskip("ase_db_backends")
    units = {"labels": {"units": {"energy": "Hartree"}}, "head": "weak"}
    weak = units | {"file": database(tmp_path / f"weak{suffix}", 18, 2)}
    strong = sections_in(tmp_path)[0]
    with packing(tmp_path / "strong.packed") as packer:
        for structure in read_labelled(strong["file"]):
            packer.add(structure)
    sections = [strong | {"file": str(tmp_path / "strong.packed")}, weak]
    held_out = [held_in(tmp_path)[0], units | {"file": database(tmp_path / f"v{suffix}", 5, 4)}]
    assert_same_data(*both_ways(tmp_path, sections, held_out))


def test_reference_energies_and_scales_are_those_of_each_head(tmp_path):
    strong, weak = sections_in(tmp_path)
    energies = ((1, -0.5), (6, -37.8), (8, -75.0))
    alone = [ase.Atoms([number], info={"total": energy}) for number, energy in energies]
    weak |= {"file": [weak["file"], write(tmp_path / "alone.xyz", alone)]}
    more = {"file": write(tmp_path / "more.xyz", clusters(4, 9, periodic=True)), "head": "strong"}
    # Of one head twice, with another between.
    sections = [strong | {"weight": 2.0}, weak | {"reference_energies": "isolated_atoms"}, more]
    held, streamed = both_ways(tmp_path, sections, held_in(tmp_path))
    assert_same_data(held, streamed)
    assert len(streamed.train) == 40
    assert streamed.facts.level_scales[0] > 1.5 * streamed.facts.level_scales[1]
    sets = streamed.data.all()
    assert {name: len(own) for name, own in sets.items()} == {
        "train (strong)": 22,
        "train (weak)": 18,
        "validation (strong)": 5,
        "validation (weak)": 5,
    }
    assert {each.head for each in sets["train (weak)"]} == {"weak"}
    heads = [line for line in streamed.data.lines() if line.startswith("head ")]
    assert heads == ["head strong", "head weak"]


def test_what_was_found_of_heads_is_remembered(tmp_path, monkeypatch):
    (strong, weak), held_out = sections_in(tmp_path), held_in(tmp_path)
    config = run_of(tmp_path, [strong, weak], held_out, True)
    first = loaded(config)
    monkeypatch.setattr(Survey, "run", lambda *_: pytest.fail("another pass over the data"))
    again = loaded(config)
    assert again.facts == first.facts
    np.testing.assert_array_equal(again.data.references.energies, first.data.references.energies)
    for change in ({"reference_energies": ZERO}, {"weight": 2.0}):
        changed = run_of(tmp_path, [strong, weak | change], held_out, True)
        with pytest.raises(pytest.fail.Exception, match="another pass"):
            loaded(changed)


@pytest.mark.parametrize("stream", [False, True])
def test_the_only_carrier_of_an_element_stays_with_its_head(tmp_path, stream):
    strong, weak = sections_in(tmp_path)
    # Both levels have silicon, and one of them in a single structure.
    made = other_level(18, 2)
    made[7].symbols[0] = "Si"
    weak |= {"file": write(tmp_path / "rare.xyz", made)}
    strong |= {"file": write(tmp_path / "si.xyz", with_silicon(clusters(18, 1, periodic=True)))}
    found = loaded(run_of(tmp_path, [strong, weak], 24, stream))
    references = found.data.references
    assert isinstance(references, HeadReferences)
    assert 14 in references.of_head("weak").numbers
    sources = [found.train.source(k) for k in range(len(found.train))]
    assert any(source.endswith("rare.xyz:7") for source in sources)


def test_a_file_that_says_another_head_is_refused(tmp_path):
    frames = clusters(12, 1, periodic=True)
    for atoms in frames:
        atoms.info["head"] = "weak"
    sections = sections_in(tmp_path)
    sections[0] |= {"file": write(tmp_path / "wrong.xyz", frames)}
    with pytest.raises(DataError, match=r"wrong\.xyz:0 says head=weak"):
        loaded(run_of(tmp_path, sections, 8, True))


def test_an_element_that_its_head_does_not_know_is_refused(tmp_path):
    strong, weak = sections_in(tmp_path)
    silicon = write(tmp_path / "si.xyz", with_silicon(clusters(6, 9, periodic=True)))
    strong |= {"file": [strong["file"], silicon]}
    weak_too = other_level(5, 4)
    weak_too[3].symbols[0] = "Si"
    held_out = held_in(tmp_path)
    held_out[1] |= {"file": write(tmp_path / "v.xyz", weak_too)}
    message = r"validation set, .*v\.xyz:3: head weak: no reference energy for Si"
    with pytest.raises(DataError, match=message):
        loaded(run_of(tmp_path, [strong, weak], held_out, True))


def test_a_weight_is_streamed_without_a_head(tmp_path):
    source = {"file": write(tmp_path / "some.xyz", clusters(12, 1)), "weight": 0.5}
    validation = write(tmp_path / "v.xyz", clusters(4, 2))
    each = both_ways(tmp_path, [source], validation)
    for found in each:
        assert {float(found.train[k].targets.weights["forces"]) for k in range(12)} == {0.5}
    assert [float(each[1].validation[k].targets.weights["forces"]) for k in range(4)] == [1.0] * 4


def test_a_run_goes_on_from_a_model_with_heads(tmp_path):
    sections, held_out = sections_in(tmp_path), held_in(tmp_path)
    short = {"training": {"epochs": 1, "batch_size": 5}}
    first = train(configured(tmp_path, sections, held_out, **short)).directory
    new = [sections[0], sections[1] | {"head": "newest"}]
    held_out[1] |= {"head": "newest"}
    start = {"model": str(first / "model.safetensors"), "head": "strong"}
    more = {"start": start, "model": None, **short}
    held, streamed = (train(run_of(tmp_path, new, held_out, s, **more)) for s in (False, True))
    assert streamed.potential.config.levels == ("strong", "weak", "newest")
    np.testing.assert_allclose(
        streamed.potential.elements.reference_energies,
        held.potential.elements.reference_energies,
        rtol=1e-12,
    )
    for log in ("log_train.csv", "log_validation.csv"):
        np.testing.assert_allclose(losses(streamed, log), losses(held, log), rtol=1e-9)


def test_tensors_are_fitted_to_structures_of_every_head(tmp_path, monkeypatch):
    sections = sections_in(tmp_path)
    sections[1] |= {"file": write(tmp_path / "rare.xyz", other_level(3, 8)[1:])}
    found = loaded(run_of(tmp_path, sections, sections, True))
    monkeypatch.setattr(preparation, "MOST_FITTED", 3)

    class Stub:
        tensor_heads = ("any",)
        config = PairConfig(levels=("strong", "weak"))

    examples = preparation._looked_at(Stub(), found)  # type: ignore[arg-type]
    heads = [examples[k].structure.head for k in range(len(examples))]
    assert heads == [0, 0, 0, 1, 1]


def test_workers_get_sections_with_their_heads():
    given: list[LabelledStructure] = many(3)
    section = Section(Held(given), "weak", 2.0)
    again = pickle.loads(pickle.dumps(section))
    assert again.sections() == [("weak", 3)]
    assert again[1].head == "weak"
    assert again[1].weights.of("energy") == 2.0
    assert given[1].head is None
    assert same_bits(again[1].atoms.positions, given[1].atoms.positions)
