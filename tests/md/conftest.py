"""The analytic models, registered for these tests."""

import pytest

from tensornet_jax.models import MODELS
from tests.md.analytic import ANALYTIC


@pytest.fixture(autouse=True)
def models(monkeypatch):
    for name, entry in ANALYTIC.items():
        monkeypatch.setitem(MODELS, name, entry)
