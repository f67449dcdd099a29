"""One head of several, several as one, and one more."""

import ase.build
import jax
import numpy as np
import pytest

from tensornet_jax.calculator import Calculator
from tensornet_jax.interop.stablehlo.export import describe, export_stablehlo
from tensornet_jax.interop.torchmd_net.export import to_state_dict
from tensornet_jax.models import MODELS
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.heads import (
    joined,
    level_scales,
    with_head,
    with_level_scales,
    with_more_heads,
)
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.parts import PartEvaluator
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tests.builders import ethanol
from tests.models.every_model import SMALL

# The second level knows no oxygen.
ENERGIES = np.array([[-13.6, -1029.0, -2041.0], [-0.5, -38.0, np.nan]])


@pytest.fixture(scope="module")
def potential() -> Potential:
    settings = {"name": "tensornet", **SMALL["tensornet"], "cutoff": 3.0}
    config = MODELS["tensornet"][0].model_validate(settings | {"levels": ["pbe", "wb97m"]})
    elements = ElementTable((1, 6, 8), ENERGIES)
    made = create_potential(config, elements, seed=0, dtype="float64", energy_scale=2.0)
    return with_level_scales(made, (1.0, 0.25))


def test_a_head_knows_the_elements_that_it_has_energies_of(potential):
    alone = with_head(potential, "wb97m")
    assert alone.elements.symbols == ("H", "C")
    assert alone.energy_scale == 0.5
    assert level_scales(potential) == (2.0, 0.5)
    methane, other = ase.build.molecule("CH4"), ase.build.molecule("CH4")
    other.info["head"] = "wb97m"
    (one,), (both,) = (
        each.evaluate(atoms, ("energy",)) for each, atoms in ((alone, methane), (potential, other))
    )
    assert one["energy"] == pytest.approx(both["energy"], rel=1e-13)
    other = ethanol()
    other.info["head"] = "wb97m"
    with pytest.raises(ValueError, match="no reference energy of O"):
        potential.evaluate(other)
    with pytest.raises(ValueError, match="element O is not in the model"):
        alone.evaluate(ethanol())


def test_a_model_file_keeps_what_a_head_does_not_know(potential, tmp_path):
    save_model(tmp_path / "model.safetensors", potential)
    loaded = load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.elements.reference_energies, ENERGIES)
    assert loaded.config == potential.config


def test_a_head_has_to_be_chosen_where_there_are_several(potential, tmp_path):
    needs = "heads pbe, wb97m.*choose one"
    for use in (
        lambda: Calculator(potential),
        lambda: with_head(potential, None),
        lambda: compress(potential),
        lambda: export_stablehlo(tmp_path / "program", potential),
        lambda: to_state_dict(potential),
        lambda: PartEvaluator(potential),
        lambda: potential.evaluate(ethanol()),
    ):
        with pytest.raises(ValueError, match=needs):
            use()
    with pytest.raises(ValueError, match="no head 'b3lyp', only pbe, wb97m"):
        Calculator(potential, head="b3lyp")
    other = ethanol()
    other.info["head"] = "b3lyp"
    with pytest.raises(ValueError, match="no head 'b3lyp', only pbe, wb97m"):
        potential.evaluate(other)
    named = with_head(potential, "pbe")
    unnamed = named.replace(config=named.config.model_copy(update={"levels": ()}))
    with pytest.raises(ValueError, match="one head without a name"):
        with_head(unnamed, "pbe")


def test_the_calculator_has_the_energies_of_its_head(potential):
    atoms, stated = ase.build.molecule("CH4"), ase.build.molecule("CH4")
    atoms.calc = Calculator(potential, head="wb97m")
    stated.info["head"] = "wb97m"
    (expected,) = potential.evaluate(stated, ("energy",))
    assert atoms.get_potential_energy() == pytest.approx(expected["energy"], rel=1e-13)


def test_a_program_says_which_head_it_has(potential):
    described = describe(with_head(potential, "wb97m"))
    assert described["head"] == "wb97m"
    assert described["elements"]["symbols"] == ["H", "C"]
    assert described["reference_energies"] == ENERGIES[1, :2].tolist()
    one = with_head(potential, "pbe")
    unnamed = one.replace(config=one.config.model_copy(update={"levels": ()}))
    assert describe(unnamed)["head"] is None


def test_a_new_head_is_a_copy_and_the_others_stay(potential):
    more = with_more_heads(potential, {"r2scan": "pbe"})
    assert more.config.levels == ("pbe", "wb97m", "r2scan")
    np.testing.assert_array_equal(more.elements.reference_energies, ENERGIES[[0, 1, 0]])
    for head, like in (("pbe", "pbe"), ("wb97m", "wb97m"), ("r2scan", "pbe")):
        found, old = with_head(more, head), with_head(potential, like)
        assert found.energy_scale == old.energy_scale
        jax.tree.map(np.testing.assert_array_equal, found.variables, old.variables)
    one = with_head(potential, "pbe")
    unnamed = one.replace(config=one.config.model_copy(update={"levels": ()}))
    assert with_more_heads(unnamed, {"new": None}).config.levels == ("default", "new")
    with pytest.raises(ValueError, match="has a head pbe already"):
        with_more_heads(potential, {"pbe": "wb97m"})
    with pytest.raises(ValueError, match="cannot begin as 'x'"):
        with_more_heads(potential, {"new": "x"})


def test_what_differs_in_more_than_heads_is_not_joined(potential):
    one = with_head(potential, "pbe")
    other = create_potential(one.config, one.elements, seed=1, dtype="float64")
    with pytest.raises(ValueError, match="which is no part of a head"):
        joined({"a": one, "b": other})
    with pytest.raises(ValueError, match="several potentials are needed"):
        joined({"a": one})
    wider = one.replace(config=one.config.model_copy(update={"cutoff": 4.0}))
    with pytest.raises(ValueError, match="different models or settings"):
        joined({"a": one, "b": wider})
