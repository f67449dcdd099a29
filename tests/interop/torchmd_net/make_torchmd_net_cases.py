"""Make torchmd_net_cases.json: numbers of torchmd-net for read-outs, priors and cells.

The weights are those of reference cases in ../shared/data/reference_tensornet, which is the
argument; what is new is everything else. Run it where torch and torchmd-net are installed:

    python -m tests.interop.torchmd_net.make_torchmd_net_cases ../shared/data/reference_tensornet
"""

import json
import sys
from importlib import import_module, reload
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import covalent_radii

# By name, since no type checker finds what need not be installed.
torch: Any = import_module("torch")

KCAL_PER_MOL = 6.947695e-21
ELECTRON_VOLT = 1.602176634e-19
NUMBERS = list(range(20))
READOUT = {"output_model": "ScalarPlusWeightedCoulomb", "output_mlp_num_layers": 0}


def zbl(cutoff: float, energy_scale: float) -> dict[str, Any]:
    scales = {"distance_scale": 1e-10, "energy_scale": energy_scale}
    return {
        "cutoff_distance": cutoff,
        "max_num_neighbors": 50,
        "atomic_number": NUMBERS,
        **scales,
    }


def coulomb(energy_scale: float) -> dict[str, Any]:
    return {
        "lower_switch_distance": 0.1,
        "upper_switch_distance": 0.35,
        "max_num_neighbors": 50,
        "distance_scale": 1e-10,
        "energy_scale": energy_scale,
    }


def molecules(reference: Any) -> dict[str, Any]:
    return {
        "numbers": reference["in/z"],
        "positions": reference["in/pos"],
        "batch": reference["in/batch"],
    }


def crystal() -> dict[str, Any]:
    """Return fourteen atoms in pairs, in a cell of the form torchmd-net needs."""
    rng = np.random.default_rng(0)
    cell = np.array([[14.0, 0, 0], [1.5, 13.5, 0], [-2, 1, 13.2]])
    corners = np.array([[i, j, k] for i in (0, 0.5) for j in (0, 0.5) for k in (0, 0.5)])
    first = (corners[:7] + 0.1 * rng.uniform(size=(7, 3))) @ cell
    second = first + 0.7 * rng.normal(size=(7, 3))
    return {
        "numbers": rng.choice([1, 6, 7, 8], 14),
        "positions": np.concatenate([first, second]),
        "batch": np.zeros(14, int),
        "cell": cell,
    }


def exact_repulsion() -> dict[str, Any]:
    """Return the tables of TensorNet2's repulsion in float64; torchmd-net makes them in float32."""
    charges = np.maximum(NUMBERS, 1).astype(float)
    radii = covalent_radii[: len(NUMBERS)]
    tables = {
        "z_pow": charges**0.3,
        "z_outer": np.outer(charges, charges),
        "cutoff_ab": radii[:, None] + radii,
    }
    return {f"representation_model.repulsion.{name}": table for name, table in tables.items()}


def evaluate(
    folder: Path,
    weights: str,
    changes: dict[str, Any],
    structures: dict[str, Any],
    inputs: dict[str, Any],
    **tensors: Any,
) -> dict[str, Any]:
    """Return a case: settings, structures, tensors beyond the weights, energies and forces."""
    with np.load(folder / f"{weights}.npz") as reference:
        config = json.loads(bytes(reference["config_json"])) | changes
        state = {k[6:]: reference[k] for k in reference.files if k.startswith("param/")}
    # Under torch's own default dtype, as torchmd-net runs: ZBL's lengths are then float32.
    model = import_module("torchmdnet.models.model").create_model(dict(config)).double()
    own = {name: value.numpy() for name, value in model.state_dict().items()}
    own |= {name: value for name, value in state.items() if name in own}
    extra = {name: value for name, value in own.items() if name not in state}
    for name, value in tensors.items():
        own[name] = extra[name] = np.asarray(value, np.float64)
    model.load_state_dict({name: torch.tensor(value) for name, value in own.items()})
    arguments = {"q": inputs.get("total_charges"), "box": structures.get("cell")}
    arguments = {name: torch.tensor(v) for name, v in arguments.items() if v is not None}
    if "charges" in inputs:
        arguments["extra_args"] = {"partial_charges": torch.tensor(inputs["charges"])}
    energy, forces = model(
        *(torch.tensor(structures[name]) for name in ("numbers", "positions", "batch")), **arguments
    )
    return {
        "weights": weights,
        "changes": changes,
        **{name: np.asarray(value).tolist() for name, value in (structures | inputs).items()},
        "tensors": {name: np.nan_to_num(v).tolist() for name, v in extra.items() if v.size < 200},
        "energy": energy.detach().numpy()[:, 0].tolist(),
        "forces": forces.detach().numpy().tolist(),
    }


def cases(folder: Path) -> dict[str, Any]:
    """Return all cases by name."""
    charged = np.load(folder / "u01_tn2_scalar_q.npz")
    plain = np.load(folder / "t01_L0_O3.npz")
    charges = np.random.default_rng(1).normal(size=len(plain["in/z"]))
    three = {
        "prior_model": ["D2", "Coulomb", "Atomref", "ZBL"],
        "prior_args": [
            zbl(9.0, KCAL_PER_MOL),
            coulomb(KCAL_PER_MOL),
            {"max_z": 20, "enable": False},
            zbl(3.0, KCAL_PER_MOL),
        ],
    }
    return {
        "coulomb of all pairs": evaluate(
            folder,
            "u01_tn2_scalar_q",
            {**READOUT, "coulomb_cutoff": None},
            molecules(charged),
            {"total_charges": charged["in/q"]},
            mean=0.3,
            std=1.7,
        ),
        "coulomb with a reaction field": evaluate(
            folder,
            "u01_tn2_scalar_q",
            {**READOUT, "coulomb_cutoff": 6.0, "repulsion": True},
            crystal(),
            {"total_charges": np.ones(1)},
            **exact_repulsion(),
        ),
        "three priors in kcal/mol": evaluate(
            folder,
            "t01_L0_O3",
            three,
            molecules(plain),
            {"charges": charges},
            **{"prior_model.2.atomref.weight": np.arange(20)[:, None]},
        ),
        "zbl in a cell": evaluate(
            folder,
            "t01_L0_O3",
            {"prior_model": [{"ZBL": zbl(5.5, ELECTRON_VOLT)}]},
            crystal(),
            {},
        ),
    }


def without_warp() -> None:
    """Load the networks as where Warp is not installed: its kernels are not exact in float64."""
    import_module("torchmdnet.models.model")
    kernels = "torchmdnet.extensions.warp_ops"
    kept = sys.modules[kernels]
    sys.modules[kernels] = None  # pyright: ignore[reportArgumentType]
    for name in ("tensornet", "tensornet2"):
        module = reload(import_module(f"torchmdnet.models.{name}"))
        if module.OPT:
            raise RuntimeError(f"{name} still uses the kernels of Warp")
    sys.modules[kernels] = kept


if __name__ == "__main__":
    without_warp()
    target = Path(__file__).with_name("torchmd_net_cases.json")
    target.write_text(json.dumps(cases(Path(sys.argv[1])), indent=None, separators=(",", ":")))
