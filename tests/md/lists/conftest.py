"""Where lists are made, as the tests choose."""

import pytest


@pytest.fixture
def on_device(monkeypatch):
    """Return a function that lets every structure count as large from now on, or none."""

    def choose(chosen):
        monkeypatch.setattr("tensornet_jax.md.lists.choice.lists_on_device", lambda count: chosen)

    return choose
