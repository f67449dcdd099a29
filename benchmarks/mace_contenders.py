"""The networks that `mace_*.py` time: MACE of this package, of mlip and of mace-torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import ase
import jax
import jax.numpy as jnp
import numpy as np

from tensornet_jax.benchmark.machine import describe_machine
from tensornet_jax.benchmark.measure import compile_work
from tensornet_jax.graph.atom_graph import FINE, AtomGraph, Capacity, batch_structures, to_device
from tensornet_jax.interop.mace import from_state_dict
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.potential.prediction import predict

# By name, since no type checker finds what need not be installed.
torch: Any = import_module("torch")
# e3nn keeps its constants in a file that newer versions of torch do not read without this.
torch.serialization.add_safe_globals([slice])
o3, jit = import_module("e3nn.o3"), import_module("e3nn.util.jit")
data, modules, tools = (import_module(f"mace.{name}") for name in ("data", "modules", "tools"))
torch_geometric = import_module("mace.tools.torch_geometric")
HAS_MLIP = find_spec("mlip") is not None

CUTOFF, L_MAX, CORRELATION, LAYERS = 5.0, 3, 3, 2
NUM_RADIAL, ENVELOPE_EXPONENT, RADIAL_WIDTHS, READOUT_WIDTH = 8, 5, (64, 64, 64), 16
# What sums over neighbors are divided by.
NEIGHBORS = 15.0
# eV per atom and eV/Å of the compressed model; relative, of the converted one in float32.
TOLERANCE, SAME = 1e-4, 1e-4
CONVERTED, COMPRESSED = "tensornet_jax, converted", "tensornet_jax, converted and compressed"
OURS = {
    "tensornet_jax": {"product": "clebsch_gordan"},
    "tensornet_jax, many-body gaunt_grid": {"many_body_product": "gaunt_grid"},
    "tensornet_jax, gaunt_grid": {"product": "gaunt_grid"},
}


@dataclass(frozen=True)
class Case:
    """Structures and what differs between networks.

    Attributes:
        numbers: the elements.
        hidden: highest degree between the layers.
    """

    structures: Sequence[ase.Atoms]
    numbers: tuple[int, ...]
    channels: int
    hidden: int


@dataclass(frozen=True)
class Contender:
    """A network that is ready to run.

    Attributes:
        family: ``clebsch_gordan`` if it is the full MACE, ``gaunt`` if its products are Gaunt's.
        edges: directed edges without padding.
        tasks: functions of no arguments, by name.
    """

    name: str
    family: str
    parameters: int
    edges: int
    tasks: dict[str, Callable[[], Any]]


def require_same_edges(contenders: Sequence[Contender]) -> None:
    """Raise RuntimeError unless all have the same number of edges."""
    if len({contender.edges for contender in contenders}) != 1:
        raise RuntimeError(f"not the same edges: { {c.name: c.edges for c in contenders} }")


def jax_tasks(
    energy_forces: Callable[..., tuple[jax.Array, jax.Array]], *arguments: Any, train: bool = True
) -> dict[str, Callable[[], Any]]:
    """Compile energy and forces, and the gradient of a loss on them by the first argument."""
    tasks: dict[str, Callable[[], Any]] = {"energy_forces": compile_work(energy_forces, *arguments)}
    if not train:
        return tasks

    def loss(*arguments: Any) -> jax.Array:
        energy, forces = energy_forces(*arguments)
        # Any labels do: the work does not depend on them.
        return jnp.mean((energy - 1) ** 2) + jnp.mean((forces - 1) ** 2)

    return tasks | {"training_step": compile_work(jax.value_and_grad(loss), *arguments)}


def ours(case: Case, name: str) -> Contender:
    """MACE of this package, on a graph padded as its training pads it."""
    config = MACEConfig(
        cutoff=CUTOFF,
        num_channels=case.channels,
        num_layers=LAYERS,
        num_radial=NUM_RADIAL,
        radial_widths=RADIAL_WIDTHS,
        envelope_exponent=ENVELOPE_EXPONENT,
        hidden_l_max=case.hidden,
        l_max=L_MAX,
        correlation=CORRELATION,
        readout_width=READOUT_WIDTH,
        avg_num_neighbors=NEIGHBORS,
    )
    config = MACEConfig.model_validate(config.model_dump() | OURS[name])
    elements = ElementTable(case.numbers, np.zeros(len(case.numbers)))
    return of_potential(name, create_potential(config, elements, seed=0), case)


def converted(case: Case) -> Potential:
    """Return mace-torch's model, with its weights, in this package.

    Raises:
        RuntimeError: its forces differ from mace-torch's.
    """
    model, arguments = _mace_torch(case)
    state = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    potential = from_state_dict(state, arguments)
    _require_same(potential, model, case)
    return potential


def of_converted(case: Case, compressed: bool) -> Contender:
    """mace-torch's model in this package, as it is or compressed."""
    potential = converted(case)
    if not compressed:
        return of_potential(CONVERTED, potential, case)
    return of_potential(COMPRESSED, compress(potential, TOLERANCE, case.structures), case)


def _require_same(potential: Potential, model: Any, case: Case) -> None:
    """Raise RuntimeError if a converted model has other forces than mace-torch's."""
    expected = model(_batch_of_mace_torch(case), compute_force=True)["forces"].detach().numpy()
    found = np.concatenate([r["forces"] for r in potential.evaluate(case.structures, ("forces",))])
    error = float(abs(found - expected).max())
    if error > SAME * max(1.0, float(abs(expected).max())):
        raise RuntimeError(f"forces of the converted model differ by {error:.1e} eV/Å")


def of_potential(name: str, potential: Potential, case: Case, train: bool = True) -> Contender:
    """A potential of this package, on a graph padded as its training pads it.

    Args:
        name: of the contender.
        potential: of MACE. Where it is compressed there is no training step.
        case: what it is to run on.
        train: compile a training step too.
    """
    config = potential.config
    assert isinstance(config, MACEConfig)
    prepared = [potential.structure(atoms) for atoms in case.structures]
    graph = to_device(batch_structures(prepared, Capacity.holding(prepared, rungs=FINE), "float32"))

    def energy_forces(variables: dict[str, Any], graph: AtomGraph) -> tuple[jax.Array, jax.Array]:
        found = predict(potential.module, variables, graph, ("energy", "forces"))
        return found["energy"], found["forces"]

    return Contender(
        name,
        "clebsch_gordan" if config.products == ("clebsch_gordan",) * 2 else "gaunt",
        potential.num_parameters,
        int(np.sum(graph.edges.mask)),
        jax_tasks(
            energy_forces,
            potential.variables,
            graph,
            train=train and config.compression is None,
        ),
    )


def of_mlip(case: Case, gaunt: bool) -> Contender:
    """MACE of mlip, padded by one atom and one edge, which is the least it takes."""
    # Here and by name, since it need not be installed.
    mlip_data, mlip_graph = import_module("mlip.data"), import_module("mlip.graph")
    systems = import_module("mlip.data.chemical_system")
    batching = import_module("mlip.graph.batching_helpers")
    mlip_models = import_module("mlip.models")
    graphs = [
        mlip_graph.Graph.from_chemical_system(
            systems.ChemicalSystem(
                atomic_numbers=atoms.numbers,
                positions=atoms.positions,
                energy=0.0,
                forces=np.zeros((len(atoms), 3)),
            ),
            CUTOFF,
        )
        for atoms in case.structures
    ]
    batch = batching.batch_graphs(graphs)
    num_atoms, num_edges = int(batch.n_node.sum()), int(batch.n_edge.sum())
    batch = batching.pad_with_graphs(batch, num_atoms + 1, num_edges + 1, len(graphs) + 1)
    batch = jax.tree.map(
        lambda x: jnp.asarray(x, "float32" if x.dtype == np.float64 else x.dtype), batch
    )
    options = {"symmetric_contraction_backend": "gaunt_tp", "use_gaunt_tp_message_passing": True}
    network = mlip_models.Mace(
        config=mlip_models.Mace.Config(
            num_layers=LAYERS,
            num_channels=case.channels,
            l_max=L_MAX,
            node_symmetry=case.hidden,
            correlation=CORRELATION,
            num_rbf=NUM_RADIAL,
            radial_mlp_hidden=list(RADIAL_WIDTHS),
            readout_irreps=(f"{READOUT_WIDTH}x0e", "0e"),
            **(options if gaunt else {}),
        ),
        dataset_info=mlip_data.DatasetInfo(
            atomic_energies_map=dict.fromkeys(case.numbers, 0.0),
            graph_cutoff_angstrom=CUTOFF,
            avg_num_neighbors=NEIGHBORS,
        ),
    )
    field = mlip_models.ForceField.from_mlip_network(network)

    def energy_forces(parameters: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
        found = field.predictor.apply(parameters, batch).to_prediction()
        return found.energy, found.forces

    return Contender(
        "mlip, Gaunt" if gaunt else "mlip",
        "gaunt" if gaunt else "clebsch_gordan",
        sum(leaf.size for leaf in jax.tree.leaves(field.params)),
        num_edges,
        jax_tasks(energy_forces, field.params, batch),
    )


def _batch_of_mace_torch(case: Case) -> dict[str, Any]:
    table = tools.AtomicNumberTable(list(case.numbers))
    graphs = [
        data.AtomicData.from_config(data.config_from_atoms(atoms), z_table=table, cutoff=CUTOFF)
        for atoms in case.structures
    ]
    loader = torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs), shuffle=False)
    return next(iter(loader)).to_dict()


def _mace_torch(case: Case) -> tuple[Any, dict[str, Any]]:
    """Return mace-torch's model, the same at each call, and its arguments."""
    torch.set_num_threads(describe_machine()["threads"])
    torch.manual_seed(0)
    degrees = range(case.hidden + 1)
    arguments: dict[str, Any] = {
        "r_max": CUTOFF,
        "num_bessel": NUM_RADIAL,
        "num_polynomial_cutoff": ENVELOPE_EXPONENT,
        "max_ell": L_MAX,
        "interaction_cls": "RealAgnosticResidualInteractionBlock",
        "interaction_cls_first": "RealAgnosticInteractionBlock",
        "num_interactions": LAYERS,
        "num_elements": len(case.numbers),
        "hidden_irreps": "+".join(f"{case.channels}x{d}{'eo'[d % 2]}" for d in degrees),
        "MLP_irreps": f"{READOUT_WIDTH}x0e",
        "radial_MLP": list(RADIAL_WIDTHS),
        "atomic_energies": np.zeros(len(case.numbers)),
        "avg_num_neighbors": NEIGHBORS,
        "atomic_numbers": list(case.numbers),
        "correlation": CORRELATION,
        "atomic_inter_scale": 1.0,
        "atomic_inter_shift": 0.0,
    }
    classes = {
        key: modules.interaction_classes[arguments[key]]
        for key in ("interaction_cls", "interaction_cls_first")
    }
    irreps = {key: o3.Irreps(arguments[key]) for key in ("hidden_irreps", "MLP_irreps")}
    gate = torch.nn.functional.silu
    model = modules.ScaleShiftMACE(**(arguments | classes | irreps | {"gate": gate}))
    return model, arguments | {"gate": "silu"}


def of_mace_torch(case: Case, scripted: bool) -> Contender:
    """MACE of mace-torch, as it is or as TorchScript, without padding."""
    model, _ = _mace_torch(case)
    batch = _batch_of_mace_torch(case)
    run = jit.compile(model) if scripted else model

    def energy_forces() -> np.ndarray:
        return run(batch, compute_force=True)["forces"].detach().numpy()

    def training_step() -> np.ndarray:
        model.zero_grad(set_to_none=True)
        found = run(batch, training=True, compute_force=True)
        loss = ((found["energy"] - 1) ** 2).mean() + ((found["forces"] - 1) ** 2).mean()
        loss.backward()
        return loss.detach().numpy()

    return Contender(
        "mace-torch, TorchScript" if scripted else "mace-torch",
        "clebsch_gordan",
        sum(parameter.numel() for parameter in model.parameters()),
        batch["edge_index"].shape[1],
        {"energy_forces": energy_forces, "training_step": training_step},
    )
