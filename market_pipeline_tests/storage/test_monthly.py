"""The monthly partitions of `raw_prices`: made while others write, and each new month by itself."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import URL, text

from market_pipeline.core.clock import utc_now
from market_pipeline.storage import disk
from market_pipeline.storage.db_errors import SchemaMismatch
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows import write
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import monthly
from market_pipeline.storage.schema.migrate import migrate
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import price_row, prices_of, store, stored_rows

YEAR = 365 * 24 * 60


@pytest.fixture
def filled(empty_postgres_url: URL) -> Iterator[Database]:
    """Prices of two coins over two years."""
    database = Database(empty_postgres_url)
    migrate(database)
    store(database, raw_prices, *(price_row(symbol, n * YEAR / 8) for symbol in ("ADA", "BTC") for n in range(16)))
    yield database
    database.dispose()


def run(database: Database, statement: str) -> list[Any]:
    with database.writing() as connection:
        result = connection.execute(text(statement))
        return list(result.scalars()) if result.returns_rows else []


def partitions(database: Database) -> dict[str, int]:
    """How many rows each partition has that has any."""
    counted = "SELECT tableoid::regclass::text, count(*) FROM raw_prices GROUP BY 1"
    with database.reading() as connection:
        return {name: rows for name, rows in connection.execute(text(counted))}


def test_changes_made_while_the_table_is_copied_are_in_it_and_grants_stay(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a coin that was copied and of one that was not: inserted, changed and deleted rows, small and in bulk."""
    run(filled, "GRANT SELECT ON raw_prices TO PUBLIC")
    changes: list[int] = []

    def meanwhile(copied: int) -> None:
        if not changes:
            for symbol in ("ADA", "BTC"):
                new, changed = price_row(symbol, 1, 5.0), price_row(symbol, YEAR / 8, 6.0)
                changes.append(upsert(filled, raw_prices, prices_of(new, changed)))
                run(filled, f"DELETE FROM raw_prices WHERE symbol = '{symbol}' AND price = 100 AND timestamp < now() "
                            f"AND timestamp = (SELECT max(timestamp) FROM raw_prices WHERE symbol = '{symbol}')")

    expected_before, bytes_before = len(stored_rows(filled, raw_prices)), disk.stored_bytes(filled)
    assert monthly.partition_by_month(filled, meanwhile)
    assert changes == [2, 2]
    rows = stored_rows(filled, raw_prices)
    assert len(rows) == expected_before
    assert run(filled, "SELECT count(*) FROM (TABLE raw_prices_before EXCEPT TABLE raw_prices) AS lost") == [0]
    assert {row["price"] for row in rows} == {100.0, 5.0, 6.0}
    assert len(partitions(filled)) > 12 and disk.stored_bytes(filled) >= bytes_before
    assert run(filled, "SELECT has_table_privilege('public', 'raw_prices', 'SELECT')") == [True]
    monkeypatch.setattr(write, "BULK_FROM", 1)
    assert upsert(filled, raw_prices, prices_of(*rows, price_row("BTC", 2))) == 1
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'raw_prices'::regclass AND NOT tgisinternal"
    assert run(filled, triggers) == [0]


def test_a_copy_that_was_interrupted_starts_again_and_a_second_one_changes_nothing(filled: Database) -> None:
    def interrupted(copied: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        monthly.partition_by_month(filled, interrupted)
    store(filled, raw_prices, price_row("BTC", 3))
    assert monthly.partition_by_month(filled)
    assert len(stored_rows(filled, raw_prices)) == 33
    assert not monthly.partition_by_month(filled)


def test_a_new_month_gets_its_partition_with_the_prices_that_waited_for_it(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monthly.partition_by_month(filled)
    now = utc_now()
    later = now + timedelta(days=31 * (monthly.MONTHS_AHEAD + 2))
    far: dict[str, Any] = {"timestamp": later, "ingested_at": later}
    early: dict[str, Any] = {"timestamp": datetime(2014, 1, 1, tzinfo=timezone.utc)}
    upsert(filled, raw_prices, prices_of(price_row("BTC", **far), price_row("BTC", **early)))
    assert partitions(filled)["raw_prices_later"] == partitions(filled)["raw_prices_earlier"] == 1
    migrate(filled)
    assert partitions(filled)["raw_prices_later"] == 1
    monkeypatch.setattr(monthly, "utc_now", lambda: later)
    run(filled, "CREATE ROLE collector LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO collector")
    collector = Database(filled.url.set(username="collector"))
    migrate(collector)
    collector.dispose()
    assert partitions(filled)["raw_prices_later"] == 1, "its role may not create partitions, and need not"
    migrate(filled)
    assert partitions(filled)[f"raw_prices_{later:%Y_%m}"] == 1
    assert "raw_prices_later" not in partitions(filled)
    assert len(stored_rows(filled, raw_prices)) == 34


def test_views_of_the_table_are_named_before_anything_is_done(filled: Database) -> None:
    run(filled, "CREATE VIEW dashboard AS SELECT symbol, price FROM raw_prices")
    with pytest.raises(SchemaMismatch, match=r"dashboard would go on reading the table .*; drop these views"):
        monthly.partition_by_month(filled)
