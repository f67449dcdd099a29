"""Our own products as contenders: every family, in every form it can be computed in."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tensornet_jax.benchmark.cases import Case, Contender, Task
from tensornet_jax.ops.tensor_products import PRODUCTS, TensorProduct

OURS = "tensornet_jax"
# family → the option that chooses how it is computed, and its values
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "clebsch_gordan": ("form", ("auto", "dense", "fused", "sparse")),
    "gaunt_fourier": ("convolution", ("fft", "direct")),
    "gaunt_grid": ("quadrature", ("gauss_legendre", "lebedev")),
}


def our_contenders(products: Mapping[str, type[TensorProduct]] = PRODUCTS) -> list[Contender]:
    """Return every family and variant.

    Args:
        products: name → class.
    """
    found = []
    for family, product_class in products.items():
        option, values = VARIANTS.get(family, ("", ()))
        choices: Sequence[dict[str, str]] = [{option: value} for value in values] or [{}]
        for choice in choices:
            name = ":".join((family, *choice.values()))
            build = partial(_build, family, product_class, choice)
            found.append(Contender(name, OURS, build))
    return found


def _build(
    family: str, make: Callable[..., TensorProduct], options: dict[str, str], case: Case
) -> Task:
    first, second, third = case.degrees
    product = make(
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
