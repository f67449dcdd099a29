"""Refuse the jax and jaxlib releases that compute wrong numbers."""

from importlib.metadata import version

# jit(vmap(lambda r: sum((M @ r)**2))) is silently wrong on CPU for tens of thousands of rows,
# the size of an edge array: https://github.com/jax-ml/jax/issues/39103
EXCLUDED_VERSIONS = frozenset({"0.10.2", "0.11.0", "0.11.1"})


def check_backend(versions: dict[str, str] | None = None) -> None:
    """Raise ImportError if an installed jax or jaxlib is known to compute wrong numbers.

    Args:
        versions: package name → version; the installed jax and jaxlib if None.
    """
    if versions is None:
        versions = {name: version(name) for name in ("jax", "jaxlib")}
    for name, installed in versions.items():
        if installed in EXCLUDED_VERSIONS:
            raise ImportError(
                f"{name} {installed} computes wrong numbers on CPU (jax-ml/jax#39103): install "
                "another release, e.g. pip install 'jax!=0.10.2,!=0.11.0,!=0.11.1' "
                "'jaxlib!=0.10.2,!=0.11.0,!=0.11.1'"
            )
