"""What cannot be taken over from mace-torch is named."""

import numpy as np
import pytest

from tensornet_jax.interop.mace import from_state_dict


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interaction_cls": "RealAgnosticAttResidualInteractionBlock"}, "AttResidual"),
        ({"interaction_cls": "RealAgnosticInteractionBlock"}, "not supported together"),
        ({"hidden_irreps": "4x0e+4x0o"}, "4x0e.4x0o"),
        ({"hidden_irreps": "4x0e+2x1o"}, "equally many channels"),
        ({"gate": "tanh"}, "gate: 'tanh'"),
        ({"use_so3": True}, "use_so3: True"),
        ({"correlation": [2, 3]}, "differs from layer to layer"),
        ({"twice": True}, "twice: True is not known"),
        ({"num_interactions": 3}, "skip_tp has 48 numbers"),
        ({"num_interactions": 1}, "linear has 32 numbers"),
        ({"radial_MLP": [9]}, "shape"),
        ({"r_max": 5.0}, "r_max is 4.5"),
        ({"readout_cls": "LinearReadoutBlock"}, "readout_cls: 'LinearReadoutBlock'"),
        ({"embedding_specs": {"elec_temp": {}}}, "the input elec_temp"),
        ({"embedding_specs": {"total_charge": {"per": "atom"}}}, "one value for each structure"),
        ({"embedding_specs": {"total_charge": {"type": "ordinal"}}}, "type 'ordinal'"),
        ({"embedding_specs": {"total_spin": {"num_hidden_layers": 2}}}, "num_hidden_layers"),
        ({"embedding_specs": "unknown"}, "'unknown' cannot be read"),
    ],
)
def test_what_this_package_lacks_is_named(reference, change, message):
    case = reference("density_first_residual")
    with pytest.raises(ValueError, match=message):
        from_state_dict(case.state, case.config | change)


def test_arguments_that_are_missing_are_named(reference):
    case = reference("soft_gaussian")
    arguments = {key: v for key, v in case.config.items() if key != "avg_num_neighbors"}
    with pytest.raises(ValueError, match="lack avg_num_neighbors"):
        from_state_dict(case.state, arguments)


def test_the_soft_transform_of_earlier_versions_is_refused(reference):
    case = reference("soft_gaussian")
    name = "radial_embedding.distance_transform"
    state = {key: value for key, value in case.state.items() if key != f"{name}.alpha"}
    state |= {f"{name}.a": np.array(0.2), f"{name}.b": np.array(3.0)}
    with pytest.raises(ValueError, match=r"before 0\.3\.10 has another Soft transform"):
        from_state_dict(state, case.config)


def test_a_head_that_is_not_there_is_named(reference):
    case = reference("heads_agnesi_zbl")
    with pytest.raises(ValueError, match="no head 'd', only a, b, c"):
        from_state_dict(case.state, case.config, head="d")


def test_a_tensor_too_many_is_named(reference):
    case = reference("soft_gaussian")
    with pytest.raises(ValueError, match=r"no place for.*something\.weight"):
        from_state_dict(case.state | {"something.weight": np.ones(2)}, case.config)
