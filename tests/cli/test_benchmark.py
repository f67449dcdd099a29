import json

import pytest

from tensornet_jax.benchmark.peers import peer_contenders
from tests.benchmark.contenders_for_tests import PEAKS

TINY = ("--l", "1", "--batch", "20", "--regime", "mimo", "--quick")


@pytest.fixture(autouse=True)
def _no_search_for_peaks(monkeypatch):
    monkeypatch.setattr("tensornet_jax.benchmark.tensor_products.measure_peaks", PEAKS.__getitem__)


def test_a_tiny_run_prints_tables_and_writes_json_page_and_figures(cli, tmp_path):
    result = cli(
        *("benchmark", "tensor-products", *TINY, "--products", "gaunt_grid", "--no-peers"),
        *("--output", "out"),
    )
    assert result.exit_code == 0, result.stderr
    assert "mimo, forward + backward, batch 20, 1 channel, float32" in result.stdout
    assert "Fastest here" in result.stdout
    assert "4 of 5 paths" in result.stdout
    content = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    measured = [r for r in content["records"] if r["status"] == "measured"]
    assert {r["contender"] for r in measured} == {
        "gaunt_grid:gauss_legendre",
        "gaunt_grid:lebedev",
    }
    assert content["versions"]["jax"]
    assert content["machine"]["threads"]
    assert (tmp_path / "out" / "time_batch20_channels1_float32.png").exists()
    assert "# Tensor products" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_one_variant_can_be_chosen_and_e3nn_is_measured_beside_it(cli, monkeypatch):
    product = next(c for c in peer_contenders() if c.name == "e3nn_jax.tensor_product")
    monkeypatch.setattr("tensornet_jax.benchmark.peers.peer_contenders", lambda: [product])
    result = cli(
        "benchmark", "tensor-products", *TINY, "--products", "clebsch_gordan:sparse", "--l", "1"
    )
    assert result.exit_code == 0, result.stderr
    assert "clebsch_gordan:sparse" in result.stdout
    assert "clebsch_gordan:dense" not in result.stdout
    assert "times as fast" in result.stdout
    assert "e3nn_jax.tensor_product" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--l", "0"), "--l 0: numbers from 1 are needed"),
        (("--l", "4:x"), "--l 4:x: write numbers like 3, 1:8 or 1,2,4"),
        (("--channels", "1,,2"), "--channels 1,,2: write numbers"),
        (("--products", "gant_grid"), "--products gant_grid: choose from clebsch_gordan"),
    ],
)
def test_options_that_cannot_be_read_are_one_message(cli, arguments, message):
    result = cli("benchmark", "tensor-products", *arguments)
    assert result.exit_code == 2
    assert f"error: {message}" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_expressivity_table_is_printed(cli):
    result = cli(
        *("benchmark", "expressivity", "--l-max", "1", "--regime", "siso"),
        *("--products", "clebsch_gordan,gaunt_grid"),
    )
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[:2] == [["siso", "L=1"], ["all", "equivariant", "maps", "1"]]
    # the cross product 1 x 1 -> 1, which Gaunt's product does not have
    assert lines[2][:2] == ["clebsch_gordan", "1/1"]
    assert lines[3] == ["gaunt_grid", "0"]


def test_an_unknown_product_has_no_expressivity(cli):
    result = cli("benchmark", "expressivity", "--products", "matrices")
    assert result.exit_code == 2
    assert "error: --products matrices: choose from clebsch_gordan" in result.stderr
