"""The same work by other libraries, each through its own interface and in its own layout.

None of them is needed: one that is not installed is a line in the results that says so. Features of
both inputs are given natural orders of degrees, one channel a multiplicity, and the normalization
that leaves Clebsch–Gordan coefficients as they are (Σ C² = 1 on a path).
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from types import ModuleType
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from tensornet_jax.benchmark.cases import Case, Contender, Task, UnavailableError
from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan, gaunt
from tensornet_jax.ops.tensor_products.protocol import Path

if TYPE_CHECKING:
    from jax.experimental.sparse import BCOO

CHANNELS_FIRST = "channels before components"
CHANNELS_LAST = "channels after components"


def peer_contenders() -> list[Contender]:
    """Return every peer, installed or not."""
    return [
        Contender("e3nn_jax.tensor_product", "e3nn-jax", partial(_e3nn, False), apart=True),
        Contender("e3nn_jax.tensor_product:summed", "e3nn-jax", partial(_e3nn, True)),
        Contender("e3nn_jax.s2grid:fft", "e3nn-jax", partial(_e3nn_grid, True)),
        Contender("e3nn_jax.s2grid:matrix", "e3nn-jax", partial(_e3nn_grid, False)),
        Contender("cuequivariance", "cuequivariance-jax", partial(_cuequivariance, False), True),
        Contender("cuequivariance:summed", "cuequivariance-jax", partial(_cuequivariance, True)),
        Contender("e3j", "e3j", partial(_e3j, False), apart=True),
        Contender("e3j:summed", "e3j", partial(_e3j, True)),
        Contender("e3j:dense", "e3j", _e3j_dense),
        Contender("e3x.Tensor", "e3x", _e3x),
    ]


def _load(package: str, module: str) -> ModuleType:
    """Import a peer; raise UnavailableError where it is absent or does not work here."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module.partition(".")[0]:
            raise UnavailableError(f"{package} is not installed: pip install {package}") from None
        raise UnavailableError(f"{package} cannot be imported: {error}") from error
    except Exception as error:
        raise UnavailableError(f"{package} cannot be imported: {error}") from error


def _channels_last(x: np.ndarray | Array) -> Array:
    return jnp.swapaxes(jnp.asarray(x), -1, -2)


@cache
def _tensor(case: Case, kind: str) -> np.ndarray:
    """All paths of a case in one tensor (size of x, size of y, size of z)."""
    first, second, third = case.degrees
    tensor = np.zeros((first.size, second.size, third.size))
    of_path = gaunt if kind == "gaunt" else clebsch_gordan
    for l1, l2, l3 in case.triangles:
        tensor[first.slice(l1), second.slice(l2), third.slice(l3)] = of_path(l1, l2, l3)
    tensor.setflags(write=False)
    return tensor


def _by_output(case: Case) -> list[Path]:
    """The paths in the order in which they stand in an output that keeps them apart."""
    return sorted(case.triangles, key=lambda path: path.l3)


def _sum_paths(case: Case, z: Array) -> Array:
    """Sum paths that stand apart along the last axis, in the order of `_by_output`."""
    parts, start = [], 0
    for degree, group in groupby(_by_output(case), key=lambda path: path.l3):
        shape = len(list(group)), 2 * degree + 1
        stop = start + shape[0] * shape[1]
        parts.append(z[..., start:stop].reshape(*z.shape[:-1], *shape).sum(-2))
        start = stop
    return jnp.concatenate(parts, axis=-1)


def _clebsch_gordan_task(
    case: Case,
    summed: bool,
    function: Callable[..., Array],
    *,
    layout: str,
    note: str,
    to_own: Callable[[np.ndarray], Array] = jnp.asarray,
    from_own: Callable[[Array], ArrayLike] = np.asarray,
    parameters: tuple[Array, ...] = (),
) -> Task:
    if summed and case.regime != "mimo":
        raise UnavailableError(
            f"in {case.regime} each degree of the output has one path: there is nothing to sum"
        )
    size = case.degrees[2].size if summed else sum(2 * path.l3 + 1 for path in case.triangles)
    return Task(
        function=function,
        computes="clebsch_gordan",
        paths=case.triangles,
        coefficients=_tensor(case, "clebsch_gordan"),
        output_size=size,
        layout=layout,
        to_own=to_own,
        from_own=from_own,
        parameters=parameters,
        note=note,
    )


# --- e3nn-jax ------------------------------------------------------------------------------------


def _e3nn(summed: bool, case: Case) -> Task:
    e3nn = _load("e3nn-jax", "tensornet_jax.runtime.quiet_imports").e3nn_jax

    # Parity even throughout lets every path pass that rotations allow.
    first, second = ([(1, (degree, 1)) for degree in degrees] for degrees in case.degrees[:2])
    keep = [e3nn.Irrep(degree, 1) for degree in case.degrees[2]]

    def product(x: Array, y: Array) -> Array:
        z = e3nn.tensor_product(
            e3nn.IrrepsArray(e3nn.Irreps(first), x),
            e3nn.IrrepsArray(e3nn.Irreps(second), y),
            filter_ir_out=keep,
            irrep_normalization="none",
        )
        return jnp.concatenate([c.sum(-2) for c in z.chunks], axis=-1) if summed else z.array

    return _clebsch_gordan_task(
        case,
        summed,
        function=product,
        layout=CHANNELS_FIRST,
        from_own=np.asarray if summed else partial(_sum_paths, case),
        note="summed over the paths by the caller" if summed else "as it is: paths stay apart",
    )


def _e3nn_grid(fft: bool, case: Case) -> Task:
    e3nn = _load("e3nn-jax", "tensornet_jax.runtime.quiet_imports").e3nn_jax

    first, second, third = (
        e3nn.Irreps([(1, (degree, (-1) ** degree)) for degree in degrees])
        for degrees in case.degrees
    )
    band = sum(degrees.last for degrees in case.degrees)
    num_beta = band // 2 + 1
    num_alpha = band + 1 + band % 2

    def signal(irreps: object, x: Array) -> Array:
        return e3nn.to_s2grid(
            e3nn.IrrepsArray(irreps, x),
            num_beta,
            num_alpha,
            quadrature="gausslegendre",
            fft=fft,
            p_val=1,
            p_arg=-1,
        ).grid_values

    def product(x: Array, y: Array) -> Array:
        with _deprecated_legendre_functions():
            values = signal(first, x) * signal(second, y)
            on_grid = e3nn.SphericalSignal(values, "gausslegendre", p_val=1, p_arg=-1)
            return e3nn.from_s2grid(on_grid, third, fft=fft).array

    return Task(
        function=product,
        computes="gaunt_grid",
        paths=tuple(path for path in case.triangles if sum(path) % 2 == 0),
        # Its integral over the sphere is a mean.
        coefficients=np.sqrt(4 * np.pi) * _tensor(case, "gaunt"),
        output_size=case.degrees[2].size,
        layout=CHANNELS_FIRST,
        note=f"times √4π; Gauss-Legendre, {num_beta} × {num_alpha} points, "
        + ("FFT in the azimuth" if fft else "no FFT"),
    )


@contextmanager
def _deprecated_legendre_functions() -> Iterator[None]:
    """e3nn-jax's grids call jax.scipy.special.lpmn_values, which warns of its end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


# --- cuequivariance-jax --------------------------------------------------------------------------


def _cuequivariance(summed: bool, case: Case) -> Task:
    cue = _load("cuequivariance-jax", "cuequivariance")
    cuex = _load("cuequivariance-jax", "cuequivariance_jax")

    first, second, third = case.degrees
    # Channel by channel: components times channels, its own order.
    descriptor = cue.SegmentedTensorProduct.from_subscripts("iu,ju,ku+ijk")
    for operand, degrees in enumerate((first, second)):
        for degree in degrees:
            descriptor.add_segment(operand, (2 * degree + 1, case.channels))
    if summed:
        for degree in third:
            descriptor.add_segment(2, (2 * degree + 1, case.channels))
    for l1, l2, l3 in _by_output(case):
        [coefficients] = cue.clebsch_gordan(cue.SO3(l1), cue.SO3(l2), cue.SO3(l3))
        descriptor.add_path(
            l1 - first.first,
            l2 - second.first,
            l3 - third.first if summed else None,
            c=np.asarray(coefficients) / np.sqrt(2 * l3 + 1),
        )
    kernels = jax.default_backend() == "gpu" and find_spec("cuequivariance_ops_jax") is not None
    if kernels:
        descriptor = descriptor.flatten_coefficient_modes()
    method = "uniform_1d" if kernels else "naive"
    polynomial = cue.SegmentedPolynomial.eval_last_operand(descriptor)

    def product(x: Array, y: Array) -> Array:
        shape = jax.ShapeDtypeStruct((case.batch, -1), x.dtype)
        [z] = cuex.segmented_polynomial(polynomial, [x, y], [shape], method=method)
        return z

    def from_own(z: Array) -> Array:
        apart = jnp.swapaxes(jnp.reshape(z, (len(z), -1, case.channels)), -1, -2)
        return apart if summed else _sum_paths(case, apart)

    return _clebsch_gordan_task(
        case,
        summed,
        function=product,
        layout=CHANNELS_LAST,
        to_own=lambda x: _channels_last(x).reshape(len(x), -1),
        from_own=from_own,
        note=f"segmented polynomial, method {method}; "
        + ("paths of one degree summed by the descriptor" if summed else "paths stay apart"),
    )


# --- e3j -----------------------------------------------------------------------------------------


def _e3j(summed: bool, case: Case) -> Task:
    e3j = _load("e3j", "e3j")

    source, target = _e3j_spaces(case)
    kernels = jax.default_backend() == "gpu" and find_spec("e3j_ops") is not None
    method = "FUSED_CUDA" if kernels else "UNFUSED"
    with e3j.config.use(tensor_product=method):
        fields: dict[str, object] = {"layout": "TRAILING_CHANNELS", "mode": "MAP"}
        if summed:
            fields["coef"] = _e3j_coefficients(case)
        product = e3j.core.TensorProduct(source, target, **fields)

    def from_own(z: Array) -> Array:
        apart = _channels_last(z)
        return apart if summed else _sum_paths(case, apart)

    return _clebsch_gordan_task(
        case,
        summed,
        function=product,
        layout=CHANNELS_LAST,
        to_own=_channels_last,
        from_own=from_own,
        note=f"{method}; "
        + ("its own sparse product of our coefficients" if summed else "paths stay apart"),
    )


def _e3j_dense(case: Case) -> Task:
    e3j = _load("e3j", "e3j")

    source, target = _e3j_spaces(case)
    tensor = jnp.asarray(np.moveaxis(_tensor(case, "clebsch_gordan"), 2, 0), case.dtype)
    with e3j.config.use(tensor_product="DENSE"):
        product = e3j.core.TensorProduct(source, target, coef=tensor)
    return _clebsch_gordan_task(
        case,
        case.regime == "mimo",
        function=product,
        layout=CHANNELS_FIRST,
        note="DENSE: one einsum with the whole tensor",
    )


def _e3j_spaces(case: Case) -> tuple[tuple[str, str], str]:
    first, second, third = ("+".join(f"{degree}e" for degree in ls) for ls in case.degrees)
    return (first, second), third


def _e3j_coefficients(case: Case) -> "BCOO":
    from jax.experimental.sparse import BCOO

    tensor = np.moveaxis(_tensor(case, "clebsch_gordan"), 2, 0)
    indices = np.argwhere(tensor)
    values = jnp.asarray(tensor[tuple(indices.T)], case.dtype)
    return BCOO((values, jnp.asarray(indices)), shape=tensor.shape, indices_sorted=True)


# --- e3x -----------------------------------------------------------------------------------------


def _e3x(case: Case) -> Task:
    e3x = _load("e3x", "e3x")
    if case.regime != "mimo":
        raise UnavailableError("e3x.nn.Tensor has all degrees from 0, not some")
    highest = [degrees.last for degrees in case.degrees]
    layer = e3x.nn.Tensor(
        max_degree=highest[2],
        include_pseudotensors=True,
        cartesian_order=False,
        param_dtype=jnp.dtype(case.dtype),
        dtype=jnp.dtype(case.dtype),
        precision=jax.lax.Precision.HIGHEST,
    )
    # Its coefficients are √(2l3+1) larger than Clebsch–Gordan's.
    of_degree = 1 / np.sqrt(2 * np.arange(highest[2] + 1) + 1)
    shape = (1, highest[0] + 1, 1, highest[1] + 1, 2, highest[2] + 1, case.channels)
    weights = jnp.asarray(np.broadcast_to(of_degree[:, None], shape), case.dtype)

    return _clebsch_gordan_task(
        case,
        True,
        function=lambda x, y, kernel: layer.apply({"params": {"kernel": kernel}}, x, y),
        layout=CHANNELS_LAST,
        to_own=lambda x: _channels_last(x)[..., None, :, :],
        from_own=lambda z: _channels_last(z.sum(-3)),
        parameters=(weights,),
        note="does more: a weight for each path and channel, and an output twice as large that "
        "keeps tensors and pseudotensors apart",
    )
