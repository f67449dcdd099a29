"""The plateau schedule lowers the learning rate when nothing improves."""

from tensornet_jax.train.config.optimizer import OptimizerConfig, PlateauSchedule
from tensornet_jax.train.optimization.plateau import Plateau, PlateauState


def test_plateau_lowers_after_its_patience_and_stops_at_its_floor():
    schedule = PlateauSchedule(factor=0.5, patience=2, final_fraction=0.2)
    plateau = Plateau.from_config(OptimizerConfig(schedule=schedule))
    assert plateau is not None
    state, scales = PlateauState(), []
    for loss in (1.0, 0.9, 0.9, 0.95, 0.8, float("nan"), 0.9, 0.9, 0.9, 0.9, 0.9):
        state = plateau.update(state, loss)
        scales.append(state.scale)
    assert scales == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]


def test_other_schedules_have_no_plateau():
    assert Plateau.from_config(OptimizerConfig()) is None
