"""Which form the compiled loop has: one that ends itself, or blocks of a fixed number of steps.

A CPU takes steps in a loop that ends where it must. On a GPU each turn of such a loop waits until
the host has read whether it goes on, and every kernel has to be launched; there the loop is a block
of a number of steps known when it is compiled, of few and larger kernels, and the host reads once a
block how far it came.
"""

from contextlib import AbstractContextManager

import jax

from tensornet_jax.ops.kernels.choice import kernel_mode

BLOCK = 10
"""Steps of a block: most intervals between two samples are multiples of it."""

# Part of what jit compares, so that a loop compiled in one form does not serve the other.
_chosen = jax.make_user_context(default_value=None)


def use_blocks(chosen: bool) -> AbstractContextManager[None]:
    """Return a scope in which simulations are made and run in blocks, or are not."""
    return _chosen(chosen)


def in_blocks() -> bool:
    """Tell whether the loop that is made or traced now is one of blocks.

    Where `use_blocks` does not say, it is on accelerators, and where kernels for them are compiled
    ahead or interpreted: in mode "on" or "interpret" of `tensornet_jax.ops.kernels.choice`.
    """
    if _chosen.value is not None:
        return _chosen.value
    return jax.default_backend() != "cpu" or kernel_mode() in ("on", "interpret")
