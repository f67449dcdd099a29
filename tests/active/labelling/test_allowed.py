"""A configuration names calculators, and cannot import anything else."""

import pytest
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from tensornet_jax.active.labelling.allowed import ALLOWED, calculator_class
from tensornet_jax.calculator import Calculator


def test_calculators_of_ase_and_of_this_package_are_found():
    assert calculator_class("ase.calculators.emt.EMT") is EMT
    assert calculator_class("ase.calculators.lj.LennardJones") is LennardJones
    assert calculator_class("tensornet_jax.Calculator") is Calculator


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "subprocess.Popen",
        "EMT",
        "ase.calculators",
        "ase.calculators.emt",
        "ase.calculators..os.system",
        "ase.calculators.emt.EMT ",
        "ase.io.read",
        "builtins.eval",
    ],
)
def test_nothing_else_may_be_named(name):
    with pytest.raises(
        ValueError, match=r"none of the calculators that may be named|no calculator"
    ):
        calculator_class(name)


@pytest.mark.parametrize("name", ["ase.calculators.emt.parameters", "ase.calculators.emt.beta"])
def test_what_is_no_calculator_is_refused(name):
    with pytest.raises(ValueError, match="has no calculator of this name"):
        calculator_class(name)


def test_a_package_that_is_not_there_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tblite.ase", None)
    with pytest.raises(ImportError, match=r"tblite\.ase\.TBLite: .*install its package"):
        calculator_class("tblite.ase.TBLite")


def test_names_are_dotted():
    assert all("." in name for name in ALLOWED)
