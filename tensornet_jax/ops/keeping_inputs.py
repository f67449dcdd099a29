"""The forward rule of functions whose derivatives need nothing but their inputs."""

from collections.abc import Callable

from jaxtyping import PyTree


def keeping_inputs(function: Callable[..., PyTree], static: int = 0) -> Callable[..., PyTree]:
    """Return the rule for `jax.custom_vjp`: the value, and the inputs for the backward rule.

    Args:
        function: of inputs.
        static: how many of the first inputs are not differentiated by (`nondiff_argnums`), which
            the backward rule gets anyway.
    """
    return lambda *inputs: (function(*inputs), inputs[static:])
