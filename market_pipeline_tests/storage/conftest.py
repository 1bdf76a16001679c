"""The two paths of a write."""

import pytest

from market_pipeline.storage.rows import write


@pytest.fixture(params=["small", "bulk"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs twice: with every write on the path of small writes, and on that of large ones."""
    chosen = str(request.param)
    monkeypatch.setattr(write, "BULK_FROM", 0 if chosen == "bulk" else 1_000_000)
    return chosen
