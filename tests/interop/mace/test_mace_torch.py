"""What is written for mace-torch is the same function there; where mace-torch is installed."""

import importlib

import ase
import numpy as np
import pytest

from tensornet_jax.interop.mace import from_model_file, from_state_dict
from tensornet_jax.interop.mace.arguments import head_names
from tensornet_jax.interop.mace.files import write_for_mace
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tests import tolerances
from tests.builders import ELEMENTS, ethanol

mace = pytest.importorskip("mace.calculators", reason="mace-torch is not installed")

# mace-torch and torch warn of much.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def double_constants():
    """ZBL of mace-torch rounds its constants to torch's default type, whatever the model's is."""
    torch = importlib.import_module("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


CONVERTED = (
    *("all_couplings", "heads_agnesi_zbl", "gated", "soft_gaussian", "density_first_residual"),
    *("charge_and_spin", "charge_network", "heads_biased"),
)
SMALL = {
    "parametrization": "mace",
    "cutoff": 4.0,
    "num_channels": 4,
    "num_radial": 5,
    "radial_widths": (6,),
    "l_max": 2,
    "correlation": 2,
    "avg_num_neighbors": 7.0,
}
OWN = {
    "defaults": {},
    "one layer": {"num_layers": 1, "readout_width": None, "first_layer": "residual"},
    "gated": {"interaction": "gated", "cutoff_function": "messages", "readout_biases": True},
    "many options": {
        "hidden_l_max": 2,
        "edge_channels": 2,
        "edge_l_max": 1,
        "last_layer": "all",
        "readouts": "last",
        "later_layers": "mixed",
        "neighbor_normalization": "density",
        "distance_transform": "soft",
        "radial": "gaussian",
        "species_in_many_body": False,
    },
    "heads": {"levels": ("pbe", "r2scan"), "distance_transform": "agnesi"},
}


def _energy_and_forces(path, atoms: ase.Atoms, head: str) -> tuple[float, np.ndarray]:
    atoms = atoms.copy()
    atoms.calc = mace.MACECalculator(
        model_paths=str(path), device="cpu", default_dtype="float64", head=head
    )
    return atoms.get_potential_energy(), atoms.get_forces()


def _check(path, potential: Potential, atoms: ase.Atoms, head: str) -> None:
    energy, forces = _energy_and_forces(path, atoms, head)
    if potential.config.num_levels > 1:
        atoms.info["head"] = head
    (found,) = potential.evaluate(atoms)
    assert found["energy"] == pytest.approx(energy, rel=tolerances.MACE)
    np.testing.assert_allclose(found["forces"], forces, rtol=0, atol=tolerances.MACE)


@pytest.mark.parametrize("name", CONVERTED)
def test_models_that_were_converted_go_back(reference, tmp_path, name):
    case = reference(name)
    path = tmp_path / "back.model"
    potential = from_state_dict(case.state, case.config)
    write_for_mace(path, potential)
    heads = head_names(case.config)
    for each in (case.cases[0], case.cases[-1]):
        energy, forces = _energy_and_forces(path, each.atoms(), each.head or heads[0])
        assert energy == pytest.approx(float(each.arrays["energy"]), rel=tolerances.MACE)
        np.testing.assert_allclose(forces, each.arrays["forces"], rtol=0, atol=tolerances.MACE)
    assert from_model_file(path).config == potential.config


@pytest.mark.parametrize("name", OWN)
def test_models_of_this_package_are_written(tmp_path, name):
    config = MACEConfig.model_validate(SMALL | OWN[name])
    elements = ELEMENTS
    if config.num_levels > 1:
        energies = elements.reference_energies
        elements = ElementTable(elements.numbers, np.stack([energies, 0.5 * energies]))
    potential = create_potential(config, elements, seed=0, dtype="float64", energy_scale=2.0)
    path = tmp_path / "own.model"
    write_for_mace(path, potential)
    again = from_model_file(path)
    for head in config.levels or ("Default",):
        for each in (potential, again):
            _check(path, each, ethanol(), head)
