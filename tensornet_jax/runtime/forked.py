"""A child process that was forked after JAX had started says so, instead of hanging.

JAX runs threads, which a fork does not take along but whose locks it copies as they stand: the
first computation in the child waits for ever.
"""

import os
import sys

REMEDY = (
    "start workers with multiprocessing.get_context('spawn') or 'forkserver', or with joblib's "
    "loky or dask, and load or unpickle the model there (docs/parallel.md)"
)


class ForkedError(RuntimeError):
    """JAX was already running when this process was forked; nothing can be computed in it."""


_state = {"started": False, "forked": False}


def check_not_forked() -> None:
    """Raise ForkedError in a child that was forked after JAX had started; note that it starts now.

    To be called before anything is computed.
    """
    if _state["forked"]:
        raise ForkedError(
            f"this process was forked after JAX had started, and would hang: {REMEDY}"
        )
    _state["started"] = True


def is_forked() -> bool:
    """Tell whether this process was forked after JAX had started."""
    return _state["forked"]


def _in_child() -> None:
    _state["forked"] = _state["forked"] or _state["started"] or _jax_runs()


def _jax_runs() -> bool:
    """Tell whether somebody else has started JAX; only JAX's own modules know."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    started = getattr(bridge, "_backends", None)
    return bool(started)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
