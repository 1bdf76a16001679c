"""The two paths of a write, and databases without tables."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows import write


@pytest.fixture(params=["small", "bulk"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs twice: with every write on the path of small writes, and on that of large ones."""
    chosen = str(request.param)
    monkeypatch.setattr(write, "BULK_FROM", 0 if chosen == "bulk" else 1_000_000)
    return chosen


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        database = Database(
            request.getfixturevalue("sqlite_database").url.set(database=str(tmp_path / "empty.db"))
        )
    else:
        database = Database(request.getfixturevalue("empty_postgres_url"))
    yield database
    database.dispose()
