"""How many epochs fit into a time."""

import pytest

from benchmarks.equal_time.epochs import epochs_in, seconds_each


def test_what_is_around_epochs_is_counted_once():
    # 40 s around the epochs, and 5 s each.
    assert epochs_in(20, ((2, 50.0), (4, 60.0))) == (1200 - 40) // 5


@pytest.mark.parametrize(
    ("minutes", "pilots", "epochs"),
    [
        (0.1, ((2, 50.0), (4, 60.0)), 2),  # not even the pilot fits
        (1.0, ((2, 20.0), (4, 20.0)), 10),  # noise: an epoch takes 5 s at most, and 10 s are around
        (1.0, ((2, 10.0), (4, 30.0)), 6),  # no time around the epochs is less than none
    ],
)
def test_epochs_where_the_short_runs_say_little(minutes, pilots, epochs):
    assert epochs_in(minutes, pilots) == epochs


def test_what_a_code_logs_of_its_epochs_counts():
    # The first run started more slowly, so that the second seems to have epochs of a second.
    assert epochs_in(20, ((2, 78.0), (4, 80.0)), each=5.0) == (1200 - 60) // 5


def test_epochs_are_timed_once_everything_is_compiled():
    rows = [{"epoch": e, "seconds": s} for e, s in ((0.5, 50), (1, 60), (2, 85), (3, 94), (4, 105))]
    assert seconds_each(rows) == 10
    assert seconds_each(rows[:3]) is None
    assert seconds_each(rows[:1]) is None


def test_the_shorter_pilot_comes_first():
    with pytest.raises(ValueError, match="fewer epochs comes first"):
        epochs_in(1.0, ((4, 60.0), (2, 50.0)))
