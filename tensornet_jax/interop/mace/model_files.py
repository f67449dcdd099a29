"""What mace-torch's `.model` files hold, as a state dict and the arguments of ScaleShiftMACE.

They are whole modules written by torch.save. What the arguments were is told from the modules'
attributes and shapes, in files of mace-torch 0.3.0 to 0.3.16.
"""

import os
from collections.abc import Iterator, Mapping

import numpy as np

from tensornet_jax.interop.torch.whole_modules import Found, Name, Record, read_whole_module
from tensornet_jax.runtime.sealed_file import Json

ALLOWED = (
    "mace.modules.*",
    "mace.tools.scatter.*",
    "e3nn.*",
    "torch.nn.modules.*",
    "torch.nn.functional.*",
    "torch.nn.parameter.*",
    "torch.fx.*",
    "torch.float32",
    "torch.float64",
    "torch._C._nn.*",
    "torch.tanh",
    "torch.sigmoid",
    "torch.abs",
)
"""What such a file may name; nothing of it is imported or called."""

_MODELS = ("mace.modules.models.ScaleShiftMACE", "mace.modules.models.MACE")
"""MACE is ScaleShiftMACE without scale and shift."""
_DEPTH = 16
_STORED = (
    *("apply_cutoff", "use_agnostic_product", "use_so3", "use_last_readout_only"),
    "use_edge_irreps_first",
)
_RADIAL = {"BesselBasis": "bessel", "GaussianBasis": "gaussian", "ChebychevBasis": "chebyshev"}
_TRANSFORMS = {"AgnesiTransform": "Agnesi", "SoftTransform": "Soft"}


def read_model_file(
    path: str | os.PathLike[str],
) -> tuple[dict[str, np.ndarray], Json]:
    """Return the state dict of a file and the arguments of its ScaleShiftMACE.

    Raises:
        ValueError: the file is damaged, of another kind, names what no file of mace-torch does, or
            holds another model than ScaleShiftMACE and MACE; the message names it.
        FileNotFoundError: there is no such file.
    """
    model = read_whole_module(path, ALLOWED)
    if not isinstance(model, Record) or model.name not in _MODELS:
        what = model.name if isinstance(model, Record) else type(model).__name__
        raise ValueError(
            f"{path} holds {what}: only mace-torch's ScaleShiftMACE and MACE are supported"
        )
    try:
        return dict(_tensors(model, "", 0)), _arguments(model)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} holds a {model.class_name} laid out as no known version has it: {error!r}"
        ) from error


def _tensors(module: Record, prefix: str, depth: int) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of parameters and persistent buffers, of all modules within."""
    if depth > _DEPTH:
        raise ValueError(f"modules within modules, deeper than {_DEPTH}")
    for kind in ("_parameters", "_buffers"):
        for name, value in module.state[kind].items():
            if value is not None and name not in module.state.get(
                "_non_persistent_buffers_set", ()
            ):
                yield f"{prefix}{name}", value
    for name, child in module.state["_modules"].items():
        if isinstance(child, Record) and isinstance(child.state, Mapping):
            yield from _tensors(child, f"{prefix}{name}.", depth + 1)


def _arguments(model: Record) -> Json:
    last, products = _child(model, "readouts", -1), _child(model, "products", 0)
    radial = _child(model, "radial_embedding")
    basis, cutoff = _child(radial, "bessel_fn"), _child(radial, "cutoff_fn")
    heads = _attribute(model, "heads", None)
    interactions = [_child(model, "interactions", k) for k in (0, -1)]
    arguments = {
        "r_max": float(model.state["_buffers"]["r_max"]),
        "num_bessel": _attribute(radial, "out_dim", None) or _size_of(basis),
        "num_polynomial_cutoff": int(cutoff.state["_buffers"]["p"]),
        "max_ell": int(_attribute(_child(model, "spherical_harmonics"), "_lmax", None)),
        "interaction_cls": interactions[1].class_name,
        "interaction_cls_first": interactions[0].class_name,
        "num_interactions": int(model.state["_buffers"]["num_interactions"]),
        "num_elements": len(model.state["_buffers"]["atomic_numbers"]),
        "hidden_irreps": _irreps(_child(products, "linear").state["irreps_out"]),
        "MLP_irreps": _read_out_irreps(last, len(heads or [0])),
        "gate": _gate(last),
        "avg_num_neighbors": _number(interactions[0].state["avg_num_neighbors"]),
        "correlation": _correlations(model),
        "radial_type": _RADIAL.get(basis.class_name, basis.class_name),
        "radial_MLP": _radial_widths(interactions[0]),
        "heads": heads or ["Default"],
        "pair_repulsion": "pair_repulsion_fn" in model.state["_modules"],
        "distance_transform": None,
    }
    if "distance_transform" in radial.state["_modules"]:
        name = _child(radial, "distance_transform").class_name
        arguments["distance_transform"] = _TRANSFORMS.get(name, name)
    arguments |= {key: model.state[key] for key in _STORED if key in model.state}
    if arguments["num_interactions"] > 1 and arguments["hidden_irreps"].count("x") > 1:
        outgoing = _irreps(_child(_child(model, "products", -1), "linear").state["irreps_out"])
        arguments["keep_last_layer_irreps"] = outgoing == arguments["hidden_irreps"]
    edge_irreps = _attribute(model, "edge_irreps", None)
    if edge_irreps is not None:
        arguments["edge_irreps"] = _irreps(edge_irreps)
    if "joint_embedding" in model.state["_modules"]:
        arguments["embedding_specs"] = _attribute(model, "embedding_specs", "unknown")
        arguments["use_embedding_readout"] = "embedding_readout" in model.state["_modules"]
    if last.class_name not in ("NonLinearReadoutBlock", "LinearReadoutBlock"):
        arguments["readout_cls"] = last.class_name
    return arguments


def _child(module: Record, name: str, number: int | None = None) -> Record:
    """A module within a module, or one of a list of modules."""
    found = module.state["_modules"][name]
    if number is not None:
        children = list(found.state["_modules"].values())
        found = children[number]
    if not isinstance(found, Record):
        raise TypeError(f"{name} is no module")
    return found


def _attribute(module: Record, name: str, default: Found) -> Found:
    return module.state.get(name, default)


def _number(value: Found) -> float:
    return float(np.asarray(value))


def _size_of(basis: Record) -> int:
    """How many radial functions there are."""
    constants = {**basis.state["_buffers"], **basis.state["_parameters"]}
    return max(np.size(value) for value in constants.values())


def _irreps(value: Found) -> str:
    """Irreps as text; e3nn's are tuples of (multiplicity, (degree, parity))."""
    if not isinstance(value, Record):
        return str(value)
    parts = []
    for part in value.arguments[0]:
        multiplicity, irrep = part.arguments[0]
        degree, parity = irrep.arguments[0]
        parts.append(f"{int(multiplicity)}x{int(degree)}{'e' if parity == 1 else 'o'}")
    return "+".join(parts)


def _read_out_irreps(read_out: Record, num_heads: int) -> str:
    """Irreps of one head's hidden layer; of a linear read-out those that no one reads."""
    text = _irreps(_attribute(read_out, "hidden_irreps", "1x0e"))
    multiplicity, times, rest = text.partition("x")
    per_head = max(1, int(multiplicity) // num_heads) if times else 1
    return f"{per_head}x{rest}" if times else text


def _gate(read_out: Record) -> str | None:
    if "non_linearity" not in read_out.state["_modules"]:
        return "silu"
    activation = _child(read_out, "non_linearity")
    (first, *_) = activation.state["_modules"]["acts"].state["_modules"].values()
    function = first.state["f"] if isinstance(first.state, Mapping) else first
    name = function.name if isinstance(function, Name | Record) else str(function)
    return name.rpartition(".")[2].lower()


def _correlations(model: Record) -> list[int]:
    found = []
    for product in _child_list(model, "products"):
        (first, *_) = _child_list(_child(product, "symmetric_contractions"), "contractions")
        found.append(sum(name.startswith("U_matrix_") for name in first.state["_buffers"]))
    return found


def _child_list(module: Record, name: str) -> list[Record]:
    return list(module.state["_modules"][name].state["_modules"].values())


def _radial_widths(interaction: Record) -> list[int]:
    network = _child(interaction, "conv_tp_weights")
    return [int(width) for width in network.state["hs"]][1:-1]
