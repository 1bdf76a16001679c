"""`market-pipeline partition-prices`: what it says when it is done, interrupted, cancelled or of no use."""

from pathlib import Path

import pytest

from market_pipeline.commands import tables
from market_pipeline.commands.main import main
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import monthly
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import price_row, store


def test_an_interruption_says_how_to_continue_and_how_to_remove_the_copy(
    inside: Path, postgres_database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store(postgres_database, raw_prices, price_row())
    monkeypatch.setenv("DATABASE_URL", postgres_database.url.render_as_string(hide_password=False))

    def interrupt(rows: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tables, "_show", interrupt)
        assert main(["partition-prices", "--yes"]) == 130
    assert monthly.CONTINUE in capsys.readouterr().err
    for expected in ("The copy of raw_prices is removed.", "There is no copy of raw_prices to remove."):
        assert main(["partition-prices", "--cancel"]) == 0
        assert expected in capsys.readouterr().out
    for expected in ("DROP TABLE raw_prices_before;", "raw_prices has its partitions already."):
        assert main(["partition-prices", "--yes"]) == 0
        assert expected in capsys.readouterr().out


def test_a_sqlite_file_is_refused(
    inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///prices.db")
    assert main(["partition-prices", "--yes"]) == 2
    assert "only tables of PostgreSQL have partitions" in capsys.readouterr().err
