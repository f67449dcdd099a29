"""AceFF's published weights: energies and forces that torchmd-net computed from them in float64."""

import json

import ase
import numpy as np
import pytest
from ase.build import molecule

from tensornet_jax.interop.aceff import ELEMENTS, from_checkpoint, from_state_dict
from tests import tolerances
from tests.interop.reference_cases import relative_error

# Checkpoints do not say which charges a model was trained on.
pytestmark = pytest.mark.filterwarnings(
    "ignore::tensornet_jax.potential.trained_on.OutsideTrainingWarning",
    "ignore::tensornet_jax.data.labels.electronic_state.InitialChargesWarning",
)


@pytest.fixture
def weights(shared_data):
    """Return a function from a version to its weights and settings."""

    def read(version: str):
        with np.load(shared_data(f"reference_aceff/aceff_v{version}_weights.npz")) as file:
            arrays = {name: file[name] for name in file.files}
        state = {k[len("param/") :]: v for k, v in arrays.items() if k.startswith("param/")}
        return state, json.loads(bytes(arrays["config_json"]).decode())

    return read


@pytest.mark.parametrize("version", ["1.1", "2.0"])
@pytest.mark.parametrize(
    "case",
    ["ethanol9_q0", "ethanol9_q1", pytest.param("ala2_explicit_q0", marks=pytest.mark.slow)],
)
def test_energies_and_forces_are_the_published_ones(weights, shared_data, version, case):
    state, config = weights(version)
    with np.load(shared_data(f"reference_aceff/aceff_v{version}__{case}.npz")) as file:
        expected = {name: file[name] for name in file.files}
    atoms = ase.Atoms(expected["z"], expected["pos"], info={"charge": float(expected["q"][0])})
    if "box" in expected:
        atoms.set_cell(expected["box"])
        atoms.pbc = True
    cutoff = float(expected.get("coulomb_cutoff", np.nan))
    potential = from_state_dict(
        state, config, coulomb_cutoff=None if np.isnan(cutoff) else cutoff, dtype="float64"
    )
    [found] = potential.evaluate(atoms)
    energy = expected["energy"].item()
    assert found["energy"] == pytest.approx(energy, rel=tolerances.REFERENCE_ENERGY)
    assert relative_error(found["forces"], expected["forces"]) < tolerances.REFERENCE_FORCES


def test_a_file_gives_the_elements_it_was_trained_on_and_no_isolated_atoms(weights, shared_data):
    path = shared_data("reference_aceff/aceff_v2.0_weights.npz")
    potential = from_checkpoint(path)
    assert set(potential.elements.symbols) == set(ELEMENTS)
    assert not potential.elements.reference_energies.any()
    atoms = molecule("CH3CH2OH")
    [found] = potential.evaluate(atoms, ("energy", "charges"))
    assert found["charges"].sum() == pytest.approx(0, abs=1e-5)
    with pytest.raises(ValueError, match="element Li is not in the model"):
        potential.evaluate(ase.Atoms("Li"))


def test_a_coulomb_cutoff_needs_charges(weights):
    with pytest.raises(ValueError, match=r"only AceFF-2\.0 has a Coulomb energy"):
        from_state_dict(*weights("1.1"), coulomb_cutoff=12.0)
