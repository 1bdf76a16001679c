"""Rows for the tests of the storage, and what a table holds afterwards."""


import pytest

from market_pipeline.storage.rows import write
from market_pipeline_tests.builders import stored_rows


@pytest.fixture
def stored():
    """All rows of a table as mappings, ordered by its key."""
    return stored_rows


@pytest.fixture(params=["small", "bulk"])
def path(request, monkeypatch):
    """The test runs twice: with every write on the path of small writes, and on that of large ones."""
    monkeypatch.setattr(write, "BULK_FROM", 0 if request.param == "bulk" else 1_000_000)
    return request.param


@pytest.fixture(params=["columns", "frame"])
def given(request):
    """The test runs twice: the rows are given as `Columns`, and as a DataFrame."""
    return (lambda columns: columns.to_frame()) if request.param == "frame" else (lambda columns: columns)
