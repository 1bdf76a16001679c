"""Old prices are thinned to one an hour: which stay, that no day gets a longer gap, that it can be repeated."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import URL

from market_pipeline.core.clock import DAY
from market_pipeline.core.slices import Slice
from market_pipeline.storage import disk
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import day_coverage
from market_pipeline.storage.queries.thinning import count_superfluous, thin_prices
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import START, anomaly_row, at, price_row, store, stored_rows

MINUTES = 24 * 60


def minutes_of(database: Database, symbol: str) -> list[float]:
    """The stored times of a symbol, in minutes after START."""
    rows = [row for row in stored_rows(database, raw_prices) if row["symbol"] == symbol]
    return sorted((row["timestamp"] - START) / timedelta(minutes=1) for row in rows)


def test_the_first_price_of_an_hour_stays_and_what_an_anomaly_refers_to(database: Database) -> None:
    """A bad tick at the turn of the hour does not represent it; a long gap does not become longer."""
    ticks = [float(minute) for minute in range(2, 6 * 60, 5)]
    before_a_gap, after_it, recent = [6 * 60.0, 6 * 60 + 45], [8 * 60 + 40.0], [2 * MINUTES, 2 * MINUTES + 5.0]
    store(database, raw_prices, *(price_row("BTC", m) for m in [*ticks, *before_a_gap, *after_it, *recent]))
    store(database, raw_prices, *(price_row("ETH", m) for m in (10.0, 20.0)), price_row("BTC", 3.0, coin_id="another"))
    store(
        database, price_anomalies,
        anomaly_row("BTC", 62.0, "bad_tick", timestamp_before=at(57), confirmed_at=at(67)), anomaly_row("ETH", 20.0),
    )
    part, longest = Slice("BTC", START.date(), START.date()), timedelta(minutes=1440 - 520)
    assert [one.largest_gap for one in day_coverage(database, [part])] == [longest]
    assert count_superfluous(database, START + 2 * DAY) == thin_prices(database, START + 2 * DAY) == len(ticks) - 9
    flagged, hours = [57.0, 62.0, 67.0], [2.0, 72.0, 122.0, 182.0, 242.0, 302.0]
    kept = sorted([*flagged, *hours, *before_a_gap, *after_it, *recent])
    assert minutes_of(database, "BTC") == sorted([3.0, *kept]), "prices of another coin are not ours to thin"
    assert minutes_of(database, "ETH") == [10.0, 20.0]
    assert [one.largest_gap for one in day_coverage(database, [part])] == [longest]
    assert thin_prices(database, START + 2 * DAY) == 0


def test_the_edge_of_a_stretch_is_no_edge(database: Database) -> None:
    """It is done in stretches of 30 days; the last price before one has a successor in the next."""
    edge = 30 * MINUTES
    store(database, raw_prices, *(price_row("BTC", m) for m in (0, 1, edge - 10, edge - 5, edge, edge + 5)))
    assert thin_prices(database, START + 40 * DAY) == 1
    assert minutes_of(database, "BTC") == [0, 1, edge - 10, edge, edge + 5]


def test_a_sqlite_file_is_made_smaller_only_where_it_is_worth_it(sqlite_database: Database) -> None:
    assert disk.compact_database(sqlite_database) == "not needed"
    assert disk.compact_database(Database(URL.create("postgresql+psycopg2"))) == "not needed"
    assert disk.stored_bytes(sqlite_database) > 100_000
    with sqlite_database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE large (blob)")
        connection.exec_driver_sql("INSERT INTO large VALUES (zeroblob(60000000))")
    with sqlite_database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE large")
    with sqlite_database.writing():
        file = Path(str(sqlite_database.url.database))
        assert disk.compact(file, patience=0.1) == "not done: database is locked"
    assert disk.compact_database(sqlite_database) == "done"
    assert disk.stored_bytes(sqlite_database) < 10_000_000


def test_the_tables_in_postgresql_have_a_size(postgres_database: Database) -> None:
    assert disk.stored_bytes(postgres_database) > 100_000
