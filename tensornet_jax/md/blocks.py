"""Which form the compiled loop has: one that ends itself, or blocks of a fixed number of steps.

A CPU takes steps in a loop that ends where it must. On a GPU each turn of such a loop waits until
the host has read whether it goes on, and every kernel has to be launched; there the loop is a block
of a number of steps known when it is compiled, of few and larger kernels, and the host reads once a
block how far it came.
"""

import jax

from tensornet_jax.ops.kernels.choice import kernel_mode

BLOCK = 10
"""Steps of a block: most intervals between two samples are multiples of it."""


def in_blocks() -> bool:
    """Tell whether the loop that is traced now is one of blocks.

    So it is on accelerators, and where kernels for them are compiled ahead or interpreted: in mode
    "on" or "interpret" of `tensornet_jax.ops.kernels.choice`.
    """
    return jax.default_backend() != "cpu" or kernel_mode() in ("on", "interpret")
