"""The Gaunt product in the Fourier basis of the torus (arXiv:2401.10216).

A signal on the sphere, continued to all β, is a trigonometric polynomial on a torus:

    f(β, α) = Σ_lm x_lm Y_lm(β, α) = Σ_{|u|,|v| ≤ L} F_uv exp(i(uβ + vα)).

Multiplying signals convolves their F, and z_lm = ∫ f Y_lm dΩ reads the product back. Each component
m meets the orders v = ±m alone, with cos(uβ) where m is even and sin(uβ) where it is odd, because
f(−β, α + π) = f(β, α). So (L + 1)(2L + 1) real numbers hold F, and half the torus holds f.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array, lax

from tensornet_jax.ops.harmonics.angular_momentum import gaunt_ratio
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.linear import transform
from tensornet_jax.ops.tensor_products.protocol import DegreeWeightedProduct
from tensornet_jax.ops.tensor_products.torus_tables import (
    from_coefficients,
    from_spectrum,
    to_coefficients,
    to_spectrum,
)

Convolution = Literal["auto", "fft", "direct"]

_DIRECT_UP_TO = 2
"""The band l1_max + l2_max up to which direct convolution was no slower on CPU with derivatives."""


@dataclass(frozen=True)
class GauntFourier(DegreeWeightedProduct):
    """The Gaunt product z_c = Σ_ab x_a y_b ∫ Y_a Y_b Y_c by convolution of Fourier coefficients.

    Exact: the conversion tables are discrete Fourier transforms of polynomials sampled often
    enough, and analytic integrals of what is read back. Only paths with l1 + l2 + l3 even exist,
    so the parities ``both`` and ``even`` are the same.

    Attributes:
        convolution: ``fft``: fast Fourier transforms to the torus and back, O(L² log L).
            ``direct``: the sum over the coefficients of the lower-degree factor, O(L⁴).
            ``auto``: the faster with derivatives on CPU, direct where l1_max + l2_max ≤ 2. Without
            derivatives direct was the faster to l1_max + l2_max = 6.
    """

    convolution: Convolution = "auto"

    def __post_init__(self) -> None:
        if self.convolution not in get_args(Convolution):
            names = ", ".join(get_args(Convolution))
            raise ValueError(
                f"unknown convolution {self.convolution!r} of GauntFourier: use one of {names}"
            )
        super().__post_init__()

    def path_coefficient(self, l1: int, l2: int, l3: int) -> float:
        """√((2l1+1)(2l2+1)(2l3+1)/4π) |(l1 l2 l3; 0 0 0)|."""
        return gaunt_ratio(l1, l2, l3)

    @property
    def band(self) -> int:
        """The highest frequency of a product of signals."""
        return self.l1_max + self.l2_max

    @property
    def num_orders(self) -> int:
        """How many of its orders v = 0, 1, … are read back."""
        return min(self.l3_max, self.band) + 1

    def _contract(self, x: Array, y: Array) -> Array:
        dtype = jnp.result_type(x, y, float)
        first, second, third = (factors.astype(dtype) for factors in self.normalization_factors())
        x, y = x.astype(dtype) * first, y.astype(dtype) * second
        direct = self.convolution == "direct"
        if self.convolution == "auto":
            direct = self.band <= _DIRECT_UP_TO
        return (self._by_direct_convolution if direct else self._by_fft)(x, y) * third

    def _by_fft(self, x: Array, y: Array) -> Array:
        """Multiply the values on half the torus.

        Of the product's orders only those up to l3_max are read, so that aliasing may reach the
        others: band + num_orders azimuths are enough.
        """
        num_polar, num_azimuths = 2 * self.band + 2, self.band + self.num_orders
        first, second, third = self.degrees
        values = _to_torus(x, first, num_polar, num_azimuths)
        values = values * _to_torus(y, second, num_polar, num_azimuths)
        spectrum = jnp.fft.rfft(values, axis=-2, norm="forward")[..., : self.num_orders, :]
        if self.num_orders % 2:
            spectrum = jnp.pad(spectrum, [(0, 0)] * (x.ndim - 1) + [(0, 1), (0, 0)])
        even, odd = spectrum[..., 0::2, :], spectrum[..., 1::2, :]
        # Even orders are even functions of β and odd ones odd: their sum over the whole circle
        # tells them apart.
        circle = jnp.concatenate([even + odd, jnp.flip(even - odd, -1)], axis=-1)
        spectrum = jnp.fft.rfft(jnp.stack([circle.real, circle.imag], -3), norm="forward")
        parts = jnp.stack([spectrum.real, spectrum.imag], axis=-4)
        return transform(
            parts.reshape(*parts.shape[:-4], -1), from_spectrum(third, self.band, self.num_orders)
        )

    def _by_direct_convolution(self, x: Array, y: Array) -> Array:
        first, second, third = self.degrees
        if first.last > second.last:
            x, y, first, second = y, x, second, first
        low, high, highest_order = first.last, second.last, self.num_orders - 1
        # Σ_{u1} X_u1 Y_{u − u1} for u = 0 … band, as a correlation with the reversed X.
        kernel = _coefficients(x, first, (low, -low), (low, -low))
        signal = _coefficients(y, second, (-low, high), (-low, min(high, highest_order + low)))
        leading = jnp.broadcast_shapes(x.shape[:-1], y.shape[:-1])
        kernel, signal = (
            jnp.broadcast_to(_with_rank(part, 3 + len(leading)), (*part.shape[:3], *leading))
            for part in (kernel, signal)
        )
        product: Array = _correlate(
            signal.reshape(*signal.shape[:3], -1),
            kernel.reshape(*kernel.shape[:3], -1),
            (0, 0),
            (self.band + 1, self.num_orders),
        )
        table = from_coefficients(third, self.band, self.num_orders)
        product = product.reshape(2, self.band + 1, self.num_orders, *leading)
        return jnp.einsum(
            "puvs,puv...->...s", table.astype(x.dtype), product, precision=lax.Precision.HIGHEST
        )


def _to_torus(features: Array, degrees: Degrees, num_polar: int, num_azimuths: int) -> Array:
    """Values at β = (j + ½) 2π / num_polar below π, (..., num_azimuths, num_polar / 2).

    The real and the imaginary part of an even order, which are even functions of β, and those of
    the odd order after it, which are odd, share a real signal on the circle of β.
    """
    pairs = degrees.last // 2 + 1
    parts = transform(features, to_spectrum(degrees, num_polar))
    parts = parts.reshape(*features.shape[:-1], 2, 2, pairs, degrees.last + 1)
    spectrum = lax.complex(parts[..., 0, :, :, :], parts[..., 1, :, :, :])
    circle = jnp.fft.irfft(spectrum, n=num_polar, norm="forward")
    ahead, behind = circle[..., : num_polar // 2], jnp.flip(circle[..., num_polar // 2 :], -1)
    even, odd = ahead + behind, ahead - behind
    orders = jnp.stack([lax.complex(p[..., 0, :, :], p[..., 1, :, :]) for p in (even, odd)], -2)
    orders = orders.reshape(*orders.shape[:-3], 2 * pairs, -1)[..., : degrees.last + 1, :]
    return jnp.fft.irfft(orders, n=num_azimuths, axis=-2, norm="forward")


def _with_rank(array: Array, rank: int) -> Array:
    """Insert axes after the third, so that the leading axes of features broadcast."""
    return array.reshape(*array.shape[:3], *(1,) * (rank - array.ndim), *array.shape[3:])


def _coefficients(
    features: Array, degrees: Degrees, polar: tuple[int, int], orders: tuple[int, int]
) -> Array:
    """Re and Im of F_uv for u and v from one bound to the other, (2, U, V, ...)."""
    table = to_coefficients(degrees, polar, orders).astype(features.dtype)
    return jnp.einsum("puvs,...s->puv...", table, features, precision=lax.Precision.HIGHEST)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _correlate(
    signal: Array, kernel: Array, start: tuple[int, int], shape: tuple[int, int]
) -> Array:
    """Σ_jk signal[start + (u + j, v + k)] kernel[j, k] of complex numbers as pairs.

    Its derivatives are correlations of the same cost. Reverse mode by itself would pad and add
    once for each coefficient of the kernel.

    Args:
        signal: (2, rows, columns, N) real and imaginary parts, zero beyond the array.
        kernel: (2, J, K, N).
        start: where in the signal the first result begins.
        shape: of the result.

    Returns:
        (2, *shape, N).
    """
    rows, columns = shape
    padding = [
        (-first, first + size + taps - 1 - there, 0)
        for first, size, taps, there in zip(
            start, shape, kernel.shape[1:3], signal.shape[1:3], strict=True
        )
    ]
    none = (0, 0, 0)
    signal = lax.pad(signal, jnp.zeros((), signal.dtype), [none, *padding, none])

    def add_row(j: Array | int, total: Array) -> Array:
        rows_j = lax.dynamic_slice_in_dim(signal, j, rows, axis=1)
        kernel_j = lax.dynamic_index_in_dim(kernel, j, axis=1, keepdims=False)
        real, imaginary = total[0], total[1]
        for k in range(kernel.shape[2]):
            a, b = rows_j[0, :, k : k + columns], rows_j[1, :, k : k + columns]
            c, d = kernel_j[0, k], kernel_j[1, k]
            real, imaginary = real + a * c - b * d, imaginary + a * d + b * c
        return jnp.stack([real, imaginary])

    total = jnp.zeros((2, rows, columns, signal.shape[3]), signal.dtype)
    return lax.fori_loop(0, kernel.shape[1], add_row, total)


def _correlate_forward(
    signal: Array, kernel: Array, start: tuple[int, int], shape: tuple[int, int]
):
    return _correlate(signal, kernel, start, shape), (signal, kernel)


def _correlate_backward(
    start: tuple[int, int],
    shape: tuple[int, int],
    inputs: tuple[Array, Array],
    cotangent: Array,
):
    signal, kernel = inputs
    reverse = 1 - shape[0] - start[0], 1 - shape[1] - start[1]
    return (
        _correlate(_conjugate(kernel), jnp.flip(cotangent, (1, 2)), reverse, signal.shape[1:3]),
        _correlate(_conjugate(signal), cotangent, start, kernel.shape[1:3]),
    )


_correlate.defvjp(_correlate_forward, _correlate_backward)


def _conjugate(pairs: Array) -> Array:
    return pairs * jnp.array([1, -1], pairs.dtype)[:, None, None, None]
