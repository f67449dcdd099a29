"""The programs of the cases, as their callers compile them, with arguments of the right shapes."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from inspect import signature
from types import ModuleType
from typing import NoReturn
from unittest import mock

import ase
import jax
import numpy as np
import optax
from flax.typing import Collection

from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures
from tensornet_jax.graph.targets import Targets, batch_targets
from tensornet_jax.md import NPT, NVE, Langevin, Simulation, engines
from tensornet_jax.md.lists import choice
from tensornet_jax.md.lists.device_lists import DeviceLists
from tensornet_jax.models import MODELS
from tensornet_jax.models.config import Compression
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.potential.prediction import Outputs, Variables
from tensornet_jax.train.config.run import LossTerm, OptimizerConfig
from tensornet_jax.train.optimization.losses import loss_terms, weighted_sum
from tensornet_jax.train.optimization.optimizer import make_optimizer
from tensornet_jax.train.optimization.state import TrainState
from tensornet_jax.train.optimization.step import TrainStep

from .cases import COMPRESSED, FORCES, GRADIENT, LISTS, NEW_LIST, STRESS, TRAINING, Case
from .compiling import Jitted

CUTOFF = 4.5
# What compressing a TensorNet of two layers with random weights to 1e-5 comes to.
TABLES = Compression(rank=56, intervals=1024)
# A model as it is trained knows the elements of organic molecules, a compressed one its system's.
ORGANIC = (1, 6, 7, 8)
TIMESTEP, STEPS = 0.5, 100
TERMS = {"energy": LossTerm(weight=1.0), "forces": LossTerm(weight=10.0)}
ENSEMBLES = {"NVE": NVE(), "Langevin": Langevin(), "NPT": NPT()}


@dataclass(frozen=True)
class Program:
    """A jitted function with its arguments, and the size of what it is about.

    atoms: in all structures.
    edges: directed ones within the cutoff, padding not counted.
    """

    function: Jitted
    arguments: tuple[object, ...]
    atoms: int
    edges: int
    named: dict[str, object] = field(default_factory=dict)


def program_of(case: Case, structures: list[ase.Atoms]) -> Program:
    """Return the program of a case.

    Args:
        case: which.
        structures: of its system.
    """
    potential = _shapes_of(case, structures)
    prepared = [potential.structure(atoms) for atoms in structures]
    size = sum(map(len, prepared)), sum(2 * len(each.pairs) for each in prepared)
    if case.task in (FORCES, STRESS):
        capacity = Capacity.holding(prepared)
        graph = batch_structures(prepared, capacity, potential.dtype)
        return Program(_evaluation(potential, case.task), (potential.variables, graph), *size)
    if case.task in (GRADIENT, TRAINING):
        capacity = Capacity.holding(prepared)
        graph = batch_structures(prepared, capacity, potential.dtype)
        labels = [_labels(len(each)) for each in prepared]
        targets = batch_targets(labels, capacity, potential.dtype)
        made = _gradient if case.task == GRADIENT else _training_step
        return Program(*made(potential, graph, targets), *size)
    if case.task == NEW_LIST:
        return Program(*_new_list(potential, structures), *size)
    function, arguments, named = _call_of_engine(potential, structures, case.task)
    return Program(function, arguments, *size, named)


def _shapes_of(case: Case, structures: list[ase.Atoms]) -> Potential:
    """Return a potential whose variables are shapes."""
    numbers, options = ORGANIC, {"name": case.model, "cutoff": CUTOFF}
    if case.form == COMPRESSED:
        numbers = tuple(sorted({int(z) for atoms in structures for z in atoms.numbers}))
        options |= {"compression": TABLES}
    config = MODELS[case.model][0].model_validate(options)
    potential = Potential(config, {}, ElementTable(numbers, np.zeros(len(numbers))))
    return potential.replace(variables=potential.variable_shapes())


def _evaluation(potential: Potential, task: str) -> Jitted:
    compute = ("energy", "forces", "stress") if task == STRESS else ("energy", "forces")

    def evaluated(variables: Variables, graph: AtomGraph) -> Outputs:
        return potential.predict(variables, graph, compute)

    return jax.jit(evaluated)


def _labels(count: int) -> Targets:
    """Return labels of a structure; any do, since the program does not depend on them."""
    return Targets({"energy": np.zeros(())}, {"forces": np.zeros((count, 3))})


def _gradient(
    potential: Potential, graph: AtomGraph[np.ndarray], targets: Targets
) -> tuple[Jitted, tuple[object, ...]]:
    def loss(
        params: Collection, buffers: Collection, graph: AtomGraph, targets: Targets
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        variables = {"params": params, "buffers": buffers}
        values = loss_terms(
            potential.predict(variables, graph, tuple(TERMS)), targets, graph, TERMS
        )
        return weighted_sum(values, TERMS), values

    variables = potential.variables
    arguments = variables["params"], variables["buffers"], graph, targets
    return jax.jit(jax.value_and_grad(loss, has_aux=True)), arguments


def _training_step(
    potential: Potential, graph: AtomGraph[np.ndarray], targets: Targets
) -> tuple[Jitted, tuple[object, ...]]:
    # Buffers are constants of a step, so that they have to be numbers.
    made = create_potential(potential.config, potential.elements, seed=0)
    config, schedule = OptimizerConfig(), optax.constant_schedule(1e-3)
    optimizer = make_optimizer(config, schedule)
    step = TrainStep(made, TERMS, optimizer, schedule, config.ema_decay)
    averaging = config.ema_decay is not None

    def started(params: object) -> TrainState:
        return TrainState.create(params, optimizer, averaging=averaging)

    state = jax.eval_shape(started, made.variables["params"])
    return jax.jit(step, donate_argnums=0), (state, graph, targets, np.float32(1))


def _new_list(
    potential: Potential, structures: list[ase.Atoms]
) -> tuple[Jitted, tuple[object, ...]]:
    with mock.patch.object(choice, "lists_on_device", return_value=True):
        engine = Simulation(potential, structures, NVE(), timestep=TIMESTEP).engine
    assert isinstance(engine.lists, DeviceLists)
    return jax.jit(engine.lists.loop.made), (engine.neighbors,)


class _CaughtError(Exception):
    """Carries a call that was not made."""

    def __init__(
        self, function: Jitted, arguments: tuple[object, ...], named: dict[str, object]
    ) -> None:
        super().__init__()
        self.function, self.arguments, self.named = function, arguments, named


def _call_of_engine(
    potential: Potential, structures: list[ase.Atoms], task: str
) -> tuple[Jitted, tuple[object, ...], dict[str, object]]:
    """Return the first call of a compiled loop that the engine makes."""
    ensemble, lists = task.split(", ")

    def caught(function: Jitted) -> Callable[..., NoReturn]:
        def catch(*arguments: object, **named: object) -> NoReturn:
            raise _CaughtError(function, arguments, named)

        return catch

    with ExitStack() as patches:
        on_device = lists == LISTS[1]
        patches.enter_context(mock.patch.object(choice, "lists_on_device", return_value=on_device))
        for module, name, function in _compiled_loops():
            patches.enter_context(mock.patch.object(module, name, caught(function)))
        simulation = Simulation(potential, structures, ENSEMBLES[ensemble], timestep=TIMESTEP)
        try:
            simulation.engine.advance(STEPS)
        except _CaughtError as found:
            return found.function, found.arguments, found.named
    raise RuntimeError("the engine has called none of its compiled loops")


def _compiled_loops() -> list[tuple[ModuleType, str, Jitted]]:
    """Return the jitted functions of the engine that take a `Program`, wherever it names them."""
    within = f"{engines.__name__}."
    modules = [module for name, module in sys.modules.items() if name.startswith(within)]
    return [
        (module, name, value)
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, jax.stages.Wrapped) and "program" in signature(value).parameters
    ]
