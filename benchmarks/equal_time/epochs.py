"""How many epochs fit into a time."""

from collections.abc import Mapping, Sequence

# Two runs of a few epochs each, from start to end: what they differ by is the time of epochs.
PILOTS = (2, 4)


def epochs_in(
    minutes: float,
    pilots: tuple[tuple[int, float], tuple[int, float]],
    each: float | None = None,
) -> int:
    """Return how many epochs of training end within a time.

    Args:
        minutes: of a whole run: starting, reading, compiling, training, validating, saving.
        pilots: epochs and seconds of two whole runs, the shorter one first.
        each: seconds of an epoch, where a code says so; else what the pilots differ by, in which
            seconds of starting count that are not alike.

    Returns:
        the number, no less than that of the shorter run.

    Raises:
        ValueError: the first run has no fewer epochs than the second.
    """
    (few, short), (many, long) = pilots
    if not 0 < few < many:
        raise ValueError(f"a pilot of fewer epochs comes first, not of {few} and then of {many}")
    if each is not None:
        # The first run of all may start from a disk that is slower.
        before = long - many * each
    else:
        each = (long - short) / (many - few)
        if each <= 0:
            # Noise of what is around the epochs hides them: they take this long at most.
            each = long / many
        before = short - few * each
    return max(few, int((60 * minutes - max(0.0, before)) / each))


def seconds_each(rows: Sequence[Mapping[str, float]]) -> float | None:
    """Return the seconds of an epoch of a log; None where there are too few.

    In the first two training and validation are compiled.
    """
    later = [row for row in rows if row["epoch"] >= 2]
    epochs = later[-1]["epoch"] - later[0]["epoch"] if later else 0
    return (later[-1]["seconds"] - later[0]["seconds"]) / epochs if epochs else None
