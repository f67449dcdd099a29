"""What no bundle is written of causes one message, and leaves no file."""

import sys
from types import ModuleType

import pytest

from tensornet_jax.interop.lammps_jax import write_bundle
from tensornet_jax.potential.potential import Potential
from tests.builders import small_potential
from tests.potential.test_parts import crystal
from tests.seams.variants import potential


@pytest.fixture
def lammps_jax(monkeypatch):
    """Put a module in place of lammps_jax that writes nothing."""
    module = ModuleType("lammps_jax.export")

    def export_model(**options: object) -> None:
        raise AssertionError("nothing should be written")

    monkeypatch.setattr(module, "export_model", export_model, raising=False)
    monkeypatch.setitem(sys.modules, "lammps_jax", ModuleType("lammps_jax"))
    monkeypatch.setitem(sys.modules, "lammps_jax.export", module)


def one_hop() -> Potential:
    return small_potential(num_layers=0, cutoff=2.0, num_channels=4)


@pytest.mark.parametrize(
    ("found", "options", "message"),
    [
        (one_hop, {"units": "lj"}, "units lj: a bundle is for units metal or real"),
        (one_hop, {"form": "halo"}, "form 'halo': a bundle is in the form \"ghosts\" or"),
        (one_hop, {"form": "exchange"}, "passes no messages"),
        (one_hop, {"types": ["C"]}, "has O, and no atom type is that"),
        (one_hop, {"types": ["C", "O", "Xx"]}, "Xx: no chemical symbol"),
        (one_hop, {"types": ["C", "O", "Pt"]}, r"Pt .*atom type 3"),
        (one_hop, {"charge": 1.0}, "charge"),
        (lambda: potential("predicted charges"), {}, "depend on all atoms at once"),
        (lambda: potential("tensors alone"), {}, "predicts no energy"),
        (lambda: potential("two levels of theory"), {}, "head"),
    ],
)
def test_what_is_refused(found, options, message, lammps_jax, tmp_path):
    arguments = {"types": ["C", "O"], "structure": crystal(), **options}
    with pytest.raises(ValueError, match=message):
        write_bundle(tmp_path / "bundle.json", found(), **arguments)
    assert not list(tmp_path.iterdir())


def test_without_lammps_jax_it_is_said_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lammps_jax.export", None)
    with pytest.raises(ImportError, match=r"pip install 'tensornet_jax\[lammps-jax\]'") as error:
        write_bundle(tmp_path / "bundle.json", one_hop(), ["C", "O"], crystal())
    assert error.value.name is None
