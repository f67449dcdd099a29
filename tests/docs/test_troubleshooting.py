"""Messages that the page on troubleshooting quotes come up, and its remedies end them."""

import os
import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.situations import SITUATIONS

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S))


def quoted(section: str) -> list[str]:
    """Return the pieces of a section's message between its ellipses."""
    (message,) = re.findall(r"^```text\n(.*?)^```$", section, re.M | re.S)
    return [piece.strip() for piece in message.replace("\n", " ").split("…") if piece.strip()]


def flat(text: str) -> str:
    return " ".join(text.split())


def test_every_section_has_its_situation():
    assert set(SECTIONS) == set(SITUATIONS)


@pytest.mark.parametrize("title", SITUATIONS)
def test_the_message_comes_up_and_the_remedy_ends_it(title, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(os.environ, "COLUMNS", "400")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TENSORNET_JAX_CACHE_GB", "0")
    make, remedy = SITUATIONS[title]
    said = flat(make(tmp_path))
    pieces = quoted(SECTIONS[title])
    assert all(piece in said for piece in pieces), said
    if remedy:
        assert flat(" ".join(remedy)) in flat(SECTIONS[title])
        assert max(pieces, key=len) not in flat(make(tmp_path, *remedy))
