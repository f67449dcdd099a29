"""The weights of TensorNet's layers under the names that torchmd-net and MatGL share."""

import numpy as np

from tensornet_jax.interop.torch.state_dict import StateDict, Weights


def embedding_weights(state: StateDict, name: str) -> Weights:
    """Return the parameters of the embedding called ``name``."""
    return {
        "pair_species": {
            "species": {"embedding": state.take(f"{name}.emb.weight")},
            "linear": state.linear(f"{name}.emb2"),
        },
        **{f"filters_{k}": state.linear(f"{name}.distance_proj{k + 1}") for k in range(3)},
        "gate_hidden": state.linear(f"{name}.linears_scalar.0"),
        **filters_by_part(state, f"{name}.linears_scalar.1", "gates"),
        "norm": state.norm(f"{name}.init_norm"),
        "mixing": _mixing(state, name, 0),
    }


def interaction_weights(state: StateDict, name: str) -> Weights:
    """Return the parameters of the interaction layer called ``name``."""
    return {
        **{f"filter_hidden_{k}": state.linear(f"{name}.linears_scalar.{k}") for k in range(2)},
        **filters_by_part(state, f"{name}.linears_scalar.2", "filters"),
        **mixings(state, name),
    }


def mixings(state: StateDict, name: str) -> Weights:
    """Return the linear maps of tensors in the interaction layer called ``name``."""
    return {"mixing_before": _mixing(state, name, 0), "mixing_after": _mixing(state, name, 3)}


def parts_first(value: np.ndarray, name: str) -> np.ndarray:
    """Turn outputs of three a channel from (F, 3), as older programs lay them out, into (3, F)."""
    if len(value) % 3:
        raise ValueError(f"{name} has {len(value)} outputs, not three a channel")
    return value.reshape(-1, 3, *value.shape[1:]).swapaxes(0, 1).reshape(value.shape)


def filters_by_part(state: StateDict, name: str, ours: str) -> Weights:
    """Return ``ours_0`` to ``ours_2``: torch has one layer of 3F outputs, laid out (3, F)."""
    both = state.linear(name)
    if both["kernel"].shape[1] % 3:
        raise ValueError(f"{name} has {both['kernel'].shape[1]} outputs, not three a channel")
    kernels = np.split(both["kernel"], 3, axis=1)
    biases = np.split(both["bias"], 3)
    return {f"{ours}_{k}": {"kernel": kernels[k], "bias": biases[k]} for k in range(3)}


def _mixing(state: StateDict, name: str, first: int) -> Weights:
    return {f"parts_{k}": state.kernel(f"{name}.linears_tensor.{first + k}") for k in range(3)}
