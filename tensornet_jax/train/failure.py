"""What ends a run that cannot go on."""


class TrainingError(RuntimeError):
    """A run that cannot go on; the text says why and what to try."""
