"""Training that starts from a trained model: the file, its elements, and what the run keeps of it.

The run directory gets `start.safetensors`, the potential before the first step: the weights of the
file, the elements and reference energies of the run. A resumed run goes on from that and from its
checkpoints, whatever has become of the file since.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ase.data import atomic_numbers, chemical_symbols

from tensornet_jax.config import ConfigError, dump_config, load_config, parse_config
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.references import ReferenceEnergies, elements_of
from tensornet_jax.data.references_by_head import (
    HeadReferences,
    References,
    plain_references,
    read_references,
    read_table,
)
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.potential.elements import with_elements
from tensornet_jax.potential.heads import UNNAMED
from tensornet_jax.potential.model_file import load_model, read_header, save_model
from tensornet_jax.potential.potential import ElementTable, Potential
from tensornet_jax.train.config.data import ReplayConfig
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.config.start import StartConfig
from tensornet_jax.train.data.parts import DataError, Parts, ReplayParts
from tensornet_jax.train.finetune.energies import Set, kept_references, refitted_references
from tensornet_jax.train.finetune.heads import references_of_heads, with_heads_of_run

Message = Callable[[str], None]
PREPARED = "start.safetensors"


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        potential: before the first step, with the elements and reference energies of the run.
        references: those reference energies, and where they come from.
        replay_references: what the energies of replay structures are counted from; None where
            there are none, where they are the model's own predictions, and where they are the
            model's, of the structures' own heads.
    """

    potential: Potential
    references: References
    replay_references: ReferenceEnergies | None

    def of_one_head(self) -> ReferenceEnergies:
        """Return the reference energies of a run with one head."""
        if isinstance(self.references, HeadReferences):
            raise TypeError("reference energies of several heads are none of one")
        return self.references


def resolve(config: RunConfig, directory: Path, begun: bool, message: Message) -> ResolvedRun:
    """Return the configuration with the model section and the checksum of the file it starts from.

    Args:
        config: of a run with a start.
        directory: the run directory.
        begun: whether it holds a run that is to go on: then the file is not needed.
        message: is told if the file is no longer what the run began with.

    Raises:
        ConfigError: the model section disagrees with the file, or the file cannot be trained.
        ModelFileError, FileNotFoundError: the file cannot be read.
    """
    start = cast(StartConfig, config.start)
    if begun:
        saved = load_config(directory / "config.yaml", ResolvedRun)
        if saved.start is None:
            # Another run's directory, as whoever records the configuration there will say.
            return ResolvedRun.of(config.model_copy(update={"model": saved.model}))
        _tell_changes(start.model, cast(str, saved.start.sha256), message)
        model, checksum = saved.model, saved.start.sha256
    else:
        whole, checksum = load_model(start.model), read_header(start.model)["sha256"]
        model = with_heads_of_run(whole, start, config.data).config
        if start.sha256 not in (None, checksum):
            raise ConfigError(
                f"start.model: {start.model} is not the file that this configuration was saved "
                "for: restore that file, or remove start.sha256"
            )
    if model.compression is not None:
        raise ConfigError(
            f"start.model: {start.model} is a compressed model, which cannot be trained: start "
            "from the model it was made of"
        )
    if model.committee:
        raise ConfigError(
            f"start.model: {start.model} is a committee of {model.committee}: start from a member "
            "(tensornet_jax.potential.members), saved with save_model"
        )
    _check_agreement(config.model, model, start.model)
    changes = {"model": model, "start": start.model_copy(update={"sha256": checksum})}
    # Once more through validation, which has not seen the model until now.
    return parse_config(dump_config(config.model_copy(update=changes)), ResolvedRun)


def make_start(config: ResolvedRun, parts: Parts, message: Message) -> Start:
    """Load the model of a new run and give it the elements and reference energies of the data.

    Args:
        config: resolved.
        parts: the structures of the run.
        message: takes sentences for the user.

    Raises:
        DataError: an element is new and not to be added, or energies do not belong to the model.
        ValueError: reference energies cannot be found.
    """
    start = cast(StartConfig, config.start)
    whole = load_model(start.model, dtype=config.dtype)
    original = with_heads_of_run(whole, start, config.data)
    several = original.config.num_levels > 1
    known = set(original.elements.numbers)
    table, like = _elements_of_run(start, known, parts)
    new = tuple(sorted(set(table) - known))
    potential = with_elements(
        original, table, dict.fromkeys(new, float("nan") if several else 0.0), like
    )
    if several:
        old = whole.config.levels or (UNNAMED,)
        by_head = references_of_heads(potential, config, parts, old, message)
        return _begun(potential, by_head, None, start, original)
    remedy = "start.reference_energies: refit"
    heads = config.data.heads()
    spec, labels = config.data.references_of(heads[0] if heads else None)
    data = Set("training set", remedy, parts.train, parts.isolated, labels)
    find = kept_references if start.reference_energies == "keep" else refitted_references
    references = find(potential, new, spec, data, message)
    replay = _replay_references(potential, new, config.data.replay, parts.replay, message)
    return _begun(potential, references, replay, start, original)


def _begun(
    potential: Potential,
    references: References,
    replay: ReferenceEnergies | None,
    start: StartConfig,
    original: Potential,
) -> Start:
    elements = ElementTable(references.numbers, references.energies)
    origin = {"model": start.model, "sha256": start.sha256, "metadata": original.metadata}
    potential = potential.replace(elements=elements, metadata={"start": origin})
    return Start(potential, references, replay)


def save_start(start: Start, directory: Path) -> None:
    """Write what the run starts from into its directory."""
    energies = {
        "references": plain_references(start.references),
        "replay": None
        if start.replay_references is None
        else plain_references(start.replay_references),
    }
    metadata = start.potential.metadata | {"reference_energies": energies}
    save_model(directory / PREPARED, start.potential.replace(metadata=metadata))


def load_start(config: ResolvedRun, directory: Path) -> Start:
    """Read back what `save_start` wrote.

    Raises:
        ModelFileError, FileNotFoundError: the file cannot be read.
    """
    path = directory / PREPARED
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing, without which a run that started from a model cannot go on: put "
            "it back, or begin in another directory"
        )
    potential = load_model(path, dtype=config.dtype)
    metadata = dict(potential.metadata)
    energies = metadata.pop("reference_energies")
    replay = energies["replay"]
    return Start(
        potential.replace(metadata=metadata),
        read_references(energies["references"]),
        None if replay is None else read_table(replay),
    )


def _replay_references(
    potential: Potential,
    new: tuple[int, ...],
    config: ReplayConfig | None,
    parts: ReplayParts | None,
    message: Message,
) -> ReferenceEnergies | None:
    if config is None or parts is None or config.targets == "model":
        return None
    remedy = "data.replay.reference_energies: least_squares"
    data = Set("replay set", remedy, parts.train, parts.isolated, config.labels)
    spec = config.reference_energies
    if spec == "start":
        return kept_references(potential, new, "least_squares", data, message)
    return refitted_references(potential, new, spec, data, message)


def _tell_changes(model: str, checksum: str, message: Message) -> None:
    path = Path(model)
    if not path.exists():
        message(f"start.model: {path} is gone; the run goes on from its own {PREPARED}")
    elif read_header(path)["sha256"] != checksum:
        message(
            f"start.model: {path} has changed since the run began; the run goes on from its own "
            f"{PREPARED}"
        )


def _check_agreement(given: ModelConfig | None, own: ModelConfig, path: str) -> None:
    if given is None:
        return
    settings = sorted(given.model_fields_set - {"name"})
    asked, known = dict(given), dict(own)
    for key in ["name", *settings]:
        if asked[key] != known.get(key):
            raise ConfigError(
                f"model.{key} is {asked[key]!r}, and {path} has {known.get(key)!r}: leave the "
                "model section out, with start it is that of the model file"
            )


def _elements_of_run(
    start: StartConfig, known: set[int], parts: Parts
) -> tuple[tuple[int, ...], dict[int, int]]:
    """Return the element table of the run, ascending, and what new elements are like."""
    sets = parts.all()
    present = {name: set(elements_of(own)) for name, own in sets.items()}
    everywhere = set().union(*present.values())
    new = everywhere - known
    like = start.new_elements if isinstance(start.new_elements, dict) else {}
    for symbol, model in like.items():
        if atomic_numbers[symbol] not in new:
            why = "the model knows it" if atomic_numbers[symbol] in known else "no data have it"
            raise ConfigError(f"start.new_elements: {symbol} is not new, {why}: remove it")
        if atomic_numbers[model] not in known:
            raise ConfigError(
                f"start.new_elements: {symbol} cannot begin as {model}, which the starting model "
                f"does not know: it knows {_symbols(known)}"
            )
    unwanted = new if start.new_elements == "forbid" else set()
    if isinstance(start.new_elements, dict):
        unwanted = new - {atomic_numbers[symbol] for symbol in like}
    if unwanted:
        raise DataError(
            f"element {_first(sets, unwanted)} is not among the {len(known)} of the starting model "
            f"({start.model}): leave such structures out, or set start.new_elements to add, or to "
            "{Ge: Si} to have germanium begin as silicon"
        )
    untaught = new - present["train"] - present.get("replay train", set())
    if untaught:
        raise DataError(
            f"element {_first(sets, untaught)} is new to the starting model and in no training "
            "structure: train on structures with this element, or leave this one out"
        )
    table = everywhere if start.elements == "data" else known | new
    return (
        tuple(sorted(table)),
        {atomic_numbers[symbol]: atomic_numbers[model] for symbol, model in like.items()},
    )


def _first(sets: dict[str, list[LabelledStructure]], wanted: set[int]) -> str:
    for name, structures in sets.items():
        for structure in structures:
            for number in structure.numbers:
                if int(number) in wanted:
                    where = f"{name} set, {structure.source}"
                    return f"{chemical_symbols[number]} ({where})"
    raise ValueError(f"no structure has any of {_symbols(wanted)}")


def _symbols(numbers: set[int] | Sequence[int]) -> str:
    return ", ".join(chemical_symbols[number] for number in sorted(numbers))
