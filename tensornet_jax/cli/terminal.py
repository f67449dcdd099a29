"""Where commands write what changes while one watches."""

import os
import sys

from rich.console import Console

# What notebooks set for the commands they run.
_NOTEBOOK = "JPY_PARENT_PID"


def console() -> Console:
    """Return standard output, a terminal only where a line can be written anew.

    Notebooks have terminals that cannot, and set FORCE_COLOR, with which rich takes a pipe for a
    terminal.
    """
    changes = sys.stdout.isatty() and _NOTEBOOK not in os.environ
    return Console(highlight=False, soft_wrap=True, force_terminal=None if changes else False)
