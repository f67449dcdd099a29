"""The compiler underneath computes right numbers, and releases that do not are refused."""

import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from packaging.requirements import Requirement

from tensornet_jax.runtime.backend import EXCLUDED_VERSIONS, check_backend
from tests import tolerances

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
# The fault of jaxlib 0.10.2 begins at 16,385 rows in double and at 32,769 in single precision.
ROWS = (1_000, 16_385, 23_000, 32_769, 40_000, 100_000)


def backend_requirements() -> list[Requirement]:
    """Return every requirement on jax or jaxlib, those of the optional extras included."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return [r for r in map(Requirement, lines) if r.name in ("jax", "jaxlib")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("num_rows", ROWS)
def test_sums_over_products_with_a_small_matrix_are_numpys(num_rows, dtype):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(3, 3)).astype(dtype)
    rows = rng.normal(size=(num_rows, 3)).astype(dtype)
    expected = ((rows.astype(np.float64) @ matrix.T.astype(np.float64)) ** 2).sum(axis=1)
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        constant = jnp.asarray(matrix)
        found = jax.jit(jax.vmap(lambda row: jnp.sum((constant @ row) ** 2)))(rows)
        assert found.dtype == dtype
    rtol = tolerances.OP if dtype == "float64" else tolerances.OP_FLOAT32
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=rtol)


@pytest.mark.parametrize("name", ["jax", "jaxlib"])
@pytest.mark.parametrize("excluded", sorted(EXCLUDED_VERSIONS))
def test_releases_that_compute_wrong_numbers_are_refused_with_a_remedy(name, excluded):
    versions = {"jax": "0.10.1", "jaxlib": "0.10.1", name: excluded}
    with pytest.raises(ImportError, match=f"{name} {excluded} computes wrong numbers") as refusal:
        check_backend(versions)
    assert "pip install" in str(refusal.value)
    for version in EXCLUDED_VERSIONS:
        assert f"!={version}" in str(refusal.value)


def test_other_releases_and_the_installed_one_are_accepted():
    check_backend({"jax": "0.10.1", "jaxlib": "0.10.1"})
    check_backend()


def test_no_installer_may_choose_an_excluded_release():
    requirements = backend_requirements()
    assert {r.name for r in requirements} == {"jax", "jaxlib"}
    for requirement in requirements:
        assert not EXCLUDED_VERSIONS & set(requirement.specifier.filter(EXCLUDED_VERSIONS))
        assert requirement.specifier.contains("0.10.1"), "the release the suite is run with"
    assert {"0.10.2", "0.11.0", "0.11.1"} <= EXCLUDED_VERSIONS
