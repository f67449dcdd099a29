"""How many epochs fit into a time."""

# Two runs of a few epochs each, from start to end: what they differ by is the time of epochs.
PILOTS = (2, 4)


def epochs_in(minutes: float, pilots: tuple[tuple[int, float], tuple[int, float]]) -> int:
    """Return how many epochs of training end within a time.

    Args:
        minutes: of a whole run: starting, reading, compiling, training, validating, saving.
        pilots: epochs and seconds of two whole runs, the shorter one first.

    Returns:
        the number, no less than that of the shorter run.

    Raises:
        ValueError: the first run has no fewer epochs than the second.
    """
    (few, short), (many, long) = pilots
    if not 0 < few < many:
        raise ValueError(f"a pilot of fewer epochs comes first, not of {few} and then of {many}")
    each = (long - short) / (many - few)
    if each <= 0:
        # Noise of what is around the epochs hides them: they take this long at most.
        each = long / many
    before = max(0.0, short - few * each)
    return max(few, int((60 * minutes - before) / each))
