"""What is compiled: models, systems and tasks."""

from collections.abc import Iterator
from dataclasses import dataclass

AS_TRAINED, COMPRESSED = "as trained", "compressed"
FORCES, STRESS = "energy + forces", "energy + forces + stress"
GRADIENT, TRAINING = "training gradient", "training step"
FORMS = {
    "tensornet": (AS_TRAINED, COMPRESSED),
    "tensornet2": (AS_TRAINED,),
    "mace": (AS_TRAINED, COMPRESSED),
    "escn": (AS_TRAINED,),
}
MOLECULES = ("ethanol", "aspirin")
BOXES = ("water 192, periodic", "water 648, periodic")
BATCH = 8
BATCHED = f"{BATCH} aspirins"
ENSEMBLES = ("NVE", "Langevin", "NPT")
LISTS = ("host list", "device list")
NEW_LIST = "new list on the device"


@dataclass(frozen=True)
class Case:
    """A program.

    model: its name in `MODELS`.
    form: as trained or compressed.
    task: what is computed.
    system: of what.
    """

    model: str
    form: str
    task: str
    system: str

    @property
    def takes_steps(self) -> bool:
        """Whether it is a loop over steps of dynamics."""
        return self.task.startswith(ENSEMBLES)

    @property
    def is_typical(self) -> bool:
        """Whether it is one of the few that are compiled for every GPU."""
        of_box = self.task in (FORCES, f"{ENSEMBLES[1]}, {LISTS[1]}") and self.system == BOXES[0]
        return of_box or (self.model, self.task) == ("tensornet", GRADIENT)

    def __str__(self) -> str:
        return f"{self.model} {self.form}, {self.task}, {self.system}"


def all_cases() -> list[Case]:
    """Return all programs, in the order of the tables."""
    return [*_evaluations(), *_dynamics(), *_training()]


def _evaluations() -> Iterator[Case]:
    for model, forms in FORMS.items():
        for form in forms:
            for task, systems in ((FORCES, MOLECULES + BOXES), (STRESS, BOXES)):
                for system in systems:
                    yield Case(model, form, task, system)


def _dynamics() -> Iterator[Case]:
    for system in (MOLECULES[0], BOXES[0]):
        for ensemble in ENSEMBLES:
            for lists in LISTS:
                # A molecule has no volume, and its list is complete from the start.
                if system in BOXES or (ensemble != "NPT" and lists == LISTS[0]):
                    yield Case("tensornet", COMPRESSED, f"{ensemble}, {lists}", system)
    # Of the others one of each: what is around energy and forces is the engine's for all models.
    for model, forms in FORMS.items():
        for form in forms:
            if (model, form) != ("tensornet", COMPRESSED):
                yield Case(model, form, f"{ENSEMBLES[1]}, {LISTS[1]}", BOXES[0])
    for system in BOXES:
        yield Case("tensornet", COMPRESSED, NEW_LIST, system)


def _training() -> Iterator[Case]:
    for model in FORMS:
        for task in (GRADIENT, TRAINING):
            yield Case(model, AS_TRAINED, task, BATCHED)
