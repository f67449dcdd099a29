"""Our own products as contenders: every family, in every form it can be computed in."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from tensornet_jax.benchmark.cases import Case, Contender, Task

OURS = "tensornet_jax"
# family → the option that chooses how it is computed, and its values
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "clebsch_gordan": ("form", ("auto", "dense", "fused", "sparse")),
    "gaunt_fourier": ("convolution", ("fft", "direct")),
    "gaunt_grid": ("quadrature", ("gauss_legendre", "lebedev")),
}


def our_contenders(products: dict[str, type] | None = None) -> list[Contender]:
    """Return every family and variant.

    Args:
        products: name → class; `tensornet_jax.ops.tensor_products.PRODUCTS` if None.
    """
    if products is None:
        from tensornet_jax.ops.tensor_products import PRODUCTS

        products = dict(PRODUCTS)
    found = []
    for family, product_class in products.items():
        option, values = VARIANTS.get(family, ("", ()))
        choices: Sequence[dict[str, str]] = [{option: value} for value in values] or [{}]
        for choice in choices:
            name = ":".join((family, *choice.values()))
            build = partial(_build, family, product_class, choice)
            found.append(Contender(name, OURS, build))
    return found


def _build(family: str, product_class: Any, options: dict[str, str], case: Case) -> Task:
    first, second, third = case.degrees
    product = product_class(
        first.last,
        second.last,
        third.last,
        l1_min=first.first,
        l2_min=second.first,
        l3_min=third.first,
        **options,
    )
    return Task(
        function=lambda x, y: product(x, y),
        computes=family,
        paths=product.paths,
        coefficients=product.coefficients(),
        output_size=third.size,
        layout="channels before components",
        product=product,
    )
