"""The monthly partitions of `raw_prices`: made while others write, and each new month by itself."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from alembic import command
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Connection, Float, text

from market_pipeline.core.clock import utc_now
from market_pipeline.storage import disk
from market_pipeline.storage.db_errors import SchemaMismatch
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows import write
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import monthly
from market_pipeline.storage.schema.migrate import alembic_config, check_schema, migrate
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import price_row, prices_of, store, stored_rows

YEAR = 365 * 24 * 60


@pytest.fixture
def filled(postgres_database: Database) -> Database:
    """Prices of two coins over two years."""
    prices = [price_row(symbol, n * YEAR / 8) for symbol in ("ADA", "BTC") for n in range(16)]
    store(postgres_database, raw_prices, *prices)
    return postgres_database


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
    triggers = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'raw_prices'::regclass AND NOT tgisinternal"
    assert run(filled, triggers) == ["raw_prices_revised"]
    run(filled, "DELETE FROM price_revisions; UPDATE raw_prices SET price = 8 WHERE price = 5 AND symbol = 'BTC'")
    assert run(filled, "SELECT price_before FROM price_revisions") == [5.0], "what it was before is kept as before"


def test_a_row_deleted_while_its_year_is_copied_does_not_come_back(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trigger would find nothing to delete in the copy, whose transaction has not ended."""
    copy, gone = monthly._copy, "symbol = 'ADA' AND timestamp = (SELECT min(timestamp) FROM raw_prices)"
    writers: list[threading.Thread] = []

    def and_write(connection: Connection, chunk: dict[str, object]) -> int:
        copied = copy(connection, chunk)
        if not writers:
            writers.append(threading.Thread(target=run, args=(filled, f"DELETE FROM raw_prices WHERE {gone}")))
            writers[0].start()
            until(lambda: run(filled, _WAITING) == [1] or not writers[0].is_alive())
        return copied

    monkeypatch.setattr(monthly, "_copy", and_write)
    assert monthly.partition_by_month(filled)
    writers[0].join(30)
    assert not writers[0].is_alive()
    assert len(stored_rows(filled, raw_prices)) == 31
    assert run(filled, "SELECT count(*) FROM (TABLE raw_prices EXCEPT TABLE raw_prices_before) AS back") == [0]


_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE FROM raw%'"


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def interrupted(copied: int) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_copy_continues_and_a_second_one_changes_nothing(
    filled: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        monthly.partition_by_month(filled, interrupted)
    before = run(filled, "SELECT 'raw_prices_by_month'::regclass::oid")
    store(filled, raw_prices, price_row("BTC", 3))
    migrate(filled)
    assert "partition-prices" in caplog.text, "each start says that every write is stored twice"
    assert monthly.partition_by_month(filled)
    assert run(filled, "SELECT 'raw_prices'::regclass::oid") == before, "what was copied is not copied again"
    assert len(stored_rows(filled, raw_prices)) == 33
    assert not monthly.partition_by_month(filled)


def test_a_copy_made_before_a_migration_of_its_table_starts_again(filled: Database) -> None:
    with pytest.raises(KeyboardInterrupt):
        monthly.partition_by_month(filled, interrupted)
    run(filled, "ALTER TABLE raw_prices ADD COLUMN volume double precision")
    assert monthly.partition_by_month(filled)
    assert run(filled, "SELECT count(volume) FROM raw_prices") == [0]


def test_an_interrupted_copy_can_be_removed(filled: Database) -> None:
    assert not monthly.remove_copy(filled)
    with pytest.raises(KeyboardInterrupt):
        monthly.partition_by_month(filled, interrupted)
    assert monthly.remove_copy(filled)
    assert run(filled, "SELECT tgname FROM pg_trigger WHERE tgrelid = 'raw_prices'::regclass") == ["raw_prices_revised"]
    store(filled, raw_prices, price_row("BTC", 3))
    assert len(stored_rows(filled, raw_prices)) == 33


def test_migrations_of_a_partitioned_table_leave_its_rows_and_partitions(filled: Database) -> None:
    """One step back and to the newest, and a column as a later migration may add it."""
    monthly.partition_by_month(filled)
    before, months = stored_rows(filled, raw_prices), partitions(filled)
    with filled.writing() as connection:
        command.downgrade(alembic_config(connection), "-1")
    migrate(filled)
    check_schema(filled)
    with filled.writing() as connection:
        operations = Operations(MigrationContext.configure(connection))
        operations.add_column("raw_prices", Column("volume", Float, nullable=False, server_default="0"))
        operations.drop_column("raw_prices", "volume")
    assert (stored_rows(filled, raw_prices), partitions(filled)) == (before, months)
    assert upsert(filled, raw_prices, prices_of(price_row("BTC", 4))) == 1


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
