"""Time MACE against the MACE of mace-torch and of mlip on the same structures, at the same sizes.

pip install mace-torch mlip
python benchmarks/mace_peers.py STRUCTURES [FOLDER] [--batch 5] [--channels 64] [--hidden 1 2 3]

STRUCTURES is whatever ASE reads. For each size of the hidden irreps all take turns in one run.
Weights are random: they change nothing about the work. mlip's and mace-torch's MACE have the same
number of parameters; ours has fewer, because symmetric couplings that agree on equal factors are
one.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase
import ase.io
import jax
import jax.numpy as jnp
import numpy as np
from results_file import results_folder

from tensornet_jax.benchmark.machine import describe_machine, installed_versions
from tensornet_jax.benchmark.measure import alternate, compile_work
from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures, to_device
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.potential.potential import ElementTable, create_potential
from tensornet_jax.potential.prediction import predict

# By name, since no type checker finds what need not be installed.
torch: Any = import_module("torch")
# e3nn keeps its constants in a file that newer versions of torch do not read without this.
torch.serialization.add_safe_globals([slice])
o3, jit = import_module("e3nn.o3"), import_module("e3nn.util.jit")
data, modules, tools = (import_module(f"mace.{name}") for name in ("data", "modules", "tools"))
torch_geometric = import_module("mace.tools.torch_geometric")
mlip_data, mlip_graph = import_module("mlip.data"), import_module("mlip.graph")
systems = import_module("mlip.data.chemical_system")
batching = import_module("mlip.graph.batching_helpers")
mlip_models = import_module("mlip.models")

CUTOFF, L_MAX, CORRELATION, LAYERS = 5.0, 3, 3, 2
NUM_RADIAL, ENVELOPE_EXPONENT, RADIAL_WIDTHS, READOUT_WIDTH = 8, 5, (64, 64, 64), 16
# What sums over neighbors are divided by.
NEIGHBORS = 15.0
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


def jax_tasks(
    energy_forces: Callable[..., tuple[jax.Array, jax.Array]], *arguments: Any
) -> dict[str, Callable[[], Any]]:
    """Compile energy and forces, and the gradient of a loss on them by the first argument."""

    def loss(*arguments: Any) -> jax.Array:
        energy, forces = energy_forces(*arguments)
        # Any labels do: the work does not depend on them.
        return jnp.mean((energy - 1) ** 2) + jnp.mean((forces - 1) ** 2)

    return {
        "energy_forces": compile_work(energy_forces, *arguments),
        "training_step": compile_work(jax.value_and_grad(loss), *arguments),
    }


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
    potential = create_potential(config, elements, seed=0)
    prepared = [potential.structure(atoms) for atoms in case.structures]
    graph = to_device(batch_structures(prepared, Capacity.holding(prepared), "float32"))

    def energy_forces(variables: dict[str, Any], graph: AtomGraph) -> tuple[jax.Array, jax.Array]:
        found = predict(potential.module, variables, graph, ("energy", "forces"))
        return found["energy"], found["forces"]

    return Contender(
        name,
        "clebsch_gordan" if config.products == ("clebsch_gordan",) * 2 else "gaunt",
        potential.num_parameters,
        int(np.sum(graph.edges.mask)),
        jax_tasks(energy_forces, potential.variables, graph),
    )


def of_mlip(case: Case, gaunt: bool) -> Contender:
    """MACE of mlip, padded by one atom and one edge, which is the least it takes."""
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


def of_mace_torch(case: Case, scripted: bool) -> Contender:
    """MACE of mace-torch, as it is or as TorchScript, without padding."""
    torch.set_num_threads(describe_machine()["threads"])
    table = tools.AtomicNumberTable(list(case.numbers))
    graphs = [
        data.AtomicData.from_config(data.config_from_atoms(atoms), z_table=table, cutoff=CUTOFF)
        for atoms in case.structures
    ]
    loader = torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs), shuffle=False)
    batch = next(iter(loader)).to_dict()
    degrees = range(case.hidden + 1)
    hidden = "+".join(f"{case.channels}x{degree}{'eo'[degree % 2]}" for degree in degrees)
    blocks = modules.interaction_classes
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=NUM_RADIAL,
        num_polynomial_cutoff=ENVELOPE_EXPONENT,
        max_ell=L_MAX,
        interaction_cls=blocks["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticInteractionBlock"],
        num_interactions=LAYERS,
        num_elements=len(case.numbers),
        hidden_irreps=o3.Irreps(hidden),
        MLP_irreps=o3.Irreps(f"{READOUT_WIDTH}x0e"),
        radial_MLP=list(RADIAL_WIDTHS),
        atomic_energies=np.zeros(len(case.numbers)),
        avg_num_neighbors=NEIGHBORS,
        atomic_numbers=list(case.numbers),
        correlation=CORRELATION,
        gate=torch.nn.functional.silu,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
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


def run(structures: Sequence[ase.Atoms], channels: int, hidden: int) -> list[dict[str, Any]]:
    """Prepare all networks, then time them in turns."""
    numbers = tuple(sorted({int(z) for atoms in structures for z in atoms.numbers}))
    case = Case(structures, numbers, channels, hidden)
    makers: list[Callable[[], Contender]] = [
        *(lambda name=name: ours(case, name) for name in OURS),
        *(lambda gaunt=gaunt: of_mlip(case, gaunt) for gaunt in (False, True)),
        *(lambda scripted=scripted: of_mace_torch(case, scripted) for scripted in (False, True)),
    ]
    contenders = []
    for make in makers:
        contenders.append(make())
        print(f"hidden l_max {hidden}: {contenders[-1].name} is ready", flush=True)
    if len({contender.edges for contender in contenders}) != 1:
        raise RuntimeError(f"not the same edges: { {c.name: c.edges for c in contenders} }")
    labelled = [(c, task, work) for c in contenders for task, work in c.tasks.items()]
    timings = alternate([work for *_, work in labelled], seconds=4.0, warm_up=3)
    return [
        {
            "hidden_l_max": hidden,
            "name": contender.name,
            "family": contender.family,
            "task": task,
            "parameters": contender.parameters,
            "edges": contender.edges,
            **asdict(timing),
        }
        for (contender, task, _), timing in zip(labelled, timings, strict=True)
    ]


def table(results: dict[str, Any]) -> str:
    """Return the times as Markdown, with the ratio of the fastest peer of a family to each."""
    machine, versions, records = results["machine"], results["versions"], results["records"]
    lines = [
        "# MACE and its peers",
        "",
        f"{results['structures']} structures at once, {results['atoms']} atoms and "
        f"{records[0]['edges']} edges in all ({results['formula']}), cutoff {CUTOFF} Å, "
        f"{results['channels']} channels, {LAYERS} layers, harmonics to l = {L_MAX}, ν = "
        f"{CORRELATION}, float32, on {machine['processor'] or machine['device']}, "
        f"{machine['threads']} threads; jax {versions['jax']}, mlip {versions['mlip']}, mace-torch "
        f"{versions['mace-torch']} with torch {versions['torch']}. Medians in ms; at each size all "
        "took turns in one run. Ratio: time of the fastest peer of the same kind over this one.",
    ]
    for hidden in sorted({record["hidden_l_max"] for record in records}):
        lines += [
            "",
            f"## Hidden irreps to l = {hidden}",
            "",
            "| | parameters | energy + forces | ratio | training step | ratio |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        own = [record for record in records if record["hidden_l_max"] == hidden]
        for name in dict.fromkeys(record["name"] for record in own):
            cells = []
            for task in ("energy_forces", "training_step"):
                [here] = [r for r in own if r["name"] == name and r["task"] == task]
                alike = [r for r in own if (r["task"], r["family"]) == (task, here["family"])]
                peers = [r for r in alike if not r["name"].startswith("tensornet_jax")]
                ratio = min(r["median_s"] for r in peers) / here["median_s"]
                cells += [f"{1e3 * here['median_s']:.1f}", f"{ratio:.2f}"]
            lines.append(f"| {name} | {here['parameters']:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and write results.json and README.md."""
    parser = argparse.ArgumentParser(description="Time MACE against its peers.")
    parser.add_argument("structures", type=Path, help="file that ASE reads")
    parser.add_argument("folder", nargs="?", type=Path, help="default: results/MACHINE/mace_peers")
    parser.add_argument("--batch", type=int, default=5, help="structures at once")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--hidden", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    folder = results_folder("mace_peers", arguments.folder)
    frames = ase.io.read(arguments.structures, f":{arguments.batch}")
    frames = [frames] if isinstance(frames, ase.Atoms) else frames
    records = []
    for hidden in arguments.hidden:
        records += run(frames, arguments.channels, hidden)
        jax.clear_caches()
    results = {
        "benchmark": "mace_peers",
        "machine": describe_machine(),
        "versions": installed_versions()
        | {name: version(name) for name in ("mlip", "mace-torch", "torch")},
        "structures": len(frames),
        "formula": str(frames[0].symbols.formula.format("hill")),
        "atoms": sum(map(len, frames)),
        "channels": arguments.channels,
        "records": records,
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = table(results)
    (folder / "README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
