"""Text as tests compare it."""

import re


def squeezed(text: str) -> str:
    """Return text in which one space stands for several, as tables in Markdown mean it."""
    return re.sub(" +", " ", text)
