"""What the package warns of: the one class that all its warnings have in common."""


class Notice(UserWarning):
    """Something a user should know of a structure or a model; the command line shows it as text."""
