"""Reads return exactly the slices, in order, on either path alike; values come back as they were written."""

import random
import threading
from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Table, text

from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice, merge_days
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.read import read_arrow, read_columns, read_many_columns, rows_per_day
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import replace, upsert
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices, rejected_prices
from market_pipeline_tests.builders import (
    START,
    anomalies_of,
    anomaly_row,
    at,
    price_row,
    prices_of,
    refusal_row,
    refusals_of,
    stored_rows,
)

HOUR, DAY = 60, 24 * 60
FIRST = START.date()
BTC = [Slice("BTC", FIRST, FIRST)]
ALWAYS = [Slice("BTC", date(2013, 1, 1), date(2100, 12, 31))]
NASTY = 'O\'Neil "said" \\ 100 % :name %s ? $1 \n\t {"price": "\\u0000"} — 比特币 🚀 --; DROP TABLE x'


def same(one: Columns, other: Columns) -> bool:
    return list(one.arrays) == list(other.arrays) and one.to_frame().equals(other.to_frame())


@pytest.fixture
def filled(database: Database) -> list[dict[str, Any]]:
    """Six days of three symbols, a price every four hours from the first instant of each day."""
    rows = [price_row(s, m, price=1.0 + m) for s in ("ADA", "BTC", "ETH") for m in range(0, 6 * DAY, 4 * HOUR)]
    upsert(database, raw_prices, prices_of(*rows))
    return rows


def test_exactly_the_days_of_the_slices_are_read_in_order(database: Database, filled: list[dict[str, Any]]) -> None:
    days = [(FIRST + timedelta(days=n), s) for n, s in [(0, "ETH"), (1, "ETH"), (4, "ETH"), (5, "ADA"), (2, "ADA")]]
    random.Random(1).shuffle(days)
    slices = merge_days(days)
    expected = columns_of(raw_prices, [row for row in filled if (row["timestamp"].date(), row["symbol"]) in days])
    found = read_columns(database, raw_prices, slices)
    assert same(found, expected)
    assert same(read_many_columns(database, raw_prices, slices), expected)
    assert same(Columns.from_frame(read_arrow(database, raw_prices, slices).to_pandas()), expected)
    assert rows_per_day(database, raw_prices, slices) == {day: 6 for day in days}


def test_a_day_begins_at_midnight_and_ends_before_the_next(database: Database) -> None:
    last = price_row(timestamp=at(DAY) - timedelta(microseconds=1))
    upsert(database, raw_prices, prices_of(price_row(), last, price_row(minutes=DAY)))
    assert read_columns(database, raw_prices, BTC).datetimes("timestamp") == [at(0), last["timestamp"]]
    both = [Slice("BTC", FIRST, FIRST + timedelta(days=1))]
    assert rows_per_day(database, raw_prices, both) == {(FIRST, "BTC"): 2, (FIRST + timedelta(days=1), "BTC"): 1}


@pytest.mark.parametrize("names", [["price", "timestamp"], ["symbol"], ["timestamp", "symbol"]])
def test_only_the_named_columns_are_read_in_their_order(
    database: Database, filled: list[dict[str, Any]], names: list[str]
) -> None:
    slices = [Slice("ADA", FIRST, FIRST), *BTC]
    columns = read_columns(database, raw_prices, slices, names)
    assert list(columns.arrays) == names and len(columns) == 12
    assert same(read_many_columns(database, raw_prices, slices, names), columns)


def test_an_unknown_column_is_named(sqlite_database: Database) -> None:
    for read in (read_columns, read_arrow):
        with pytest.raises(ValueError, match=r"raw_prices has no columns \['prise'\]"):
            read(sqlite_database, raw_prices, [], ["prise"])


@pytest.mark.parametrize(("table", "rows"), [
    (raw_prices, prices_of(price_row())), (rejected_prices, refusals_of(refusal_row(1))),
    (price_anomalies, anomalies_of(anomaly_row(expected_move=None))),
])
def test_types_do_not_depend_on_the_number_of_rows(database: Database, table: Table, rows: Columns) -> None:
    without = [
        read(database, table, slices) for read in (read_columns, read_many_columns) for slices in (BTC, [])
    ]
    frames = [read_arrow(database, table, slices).to_pandas() for slices in (BTC, [])]
    upsert(database, table, rows)
    for found in (*without, read_columns(database, table, BTC), read_many_columns(database, table, BTC)):
        assert {name: array.dtype for name, array in found.arrays.items()} == {
            name: array.dtype for name, array in rows.arrays.items()
        }
    full = read_arrow(database, table, BTC).to_pandas()
    assert all(frame.dtypes.equals(full.dtypes) for frame in frames)
    assert {str(full[name].dtype) for name in rows.arrays if rows[name].dtype.kind == "M"} == {"datetime64[us, UTC]"}


def test_values_come_back_as_they_were_written(database: Database, path: str) -> None:
    """Microseconds of any year, numbers to the last bit, whole numbers whole, text of any kind."""
    moments = [
        datetime(2013, 1, 1, tzinfo=timezone.utc), datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=timezone.utc),
        datetime(2026, 11, 23, 4, 5, 6, 1, tzinfo=timezone.utc),
        datetime(2100, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
    ]
    numbers = [1e-300, 5e-324, 0.1 + 0.2, 1e299]
    tokyo = timezone(timedelta(hours=9))
    prices = [
        price_row(timestamp=moment.astimezone(tokyo), ingested_at=moment, price=number)
        for moment, number in zip(moments, numbers, strict=True)
    ]
    upsert(database, raw_prices, prices_of(*prices))
    refusals = [refusal_row(1, detail=NASTY, payload=NASTY), refusal_row(2, payload="x" * 100_000)]
    upsert(database, rejected_prices, refusals_of(*refusals))
    anomalies = [anomaly_row(minutes=n, peers_moved=peers, quotes_used=n) for n, peers in enumerate((3, None, 0))]
    replace(database, price_anomalies, anomalies_of(*anomalies), BTC)
    for table, rows in ((raw_prices, prices), (rejected_prices, refusals), (price_anomalies, anomalies)):
        assert stored_rows(database, table) == rows
        expected = columns_of(table, rows)
        assert same(read_columns(database, table, ALWAYS), expected)
        assert same(read_many_columns(database, table, ALWAYS), expected)
    assert rows_per_day(database, raw_prices, ALWAYS) == {(moment.date(), "BTC"): 1 for moment in moments}
    assert rows_per_day(database, rejected_prices, BTC) == {(FIRST, "BTC"): 2}
    with database.reading() as connection:
        kind = "typeof(peers_moved)" if database.dialect == "sqlite" else "pg_typeof(peers_moved)::text"
        kinds = connection.execute(text(f"SELECT {kind} FROM price_anomalies WHERE peers_moved >= 0")).scalars()
        assert set(kinds) == {"integer"}


def test_missing_values_come_back_missing_wherever_they_are(database: Database, path: str) -> None:
    """ADBC's SQLite infers a column's type from the first rows: NULL there must not spoil the others."""
    rows = [refusal_row(n, timestamp=None) for n in range(2000)] + [refusal_row(2000)]
    upsert(database, rejected_prices, refusals_of(*rows))
    upsert(database, price_anomalies, anomalies_of(anomaly_row(expected_move=None), anomaly_row(minutes=1)))
    for read in (read_columns, read_many_columns):
        assert np.isnat(read(database, rejected_prices, BTC)["timestamp"]).tolist() == [True] * 2000 + [False]
        moves = read(database, price_anomalies, ALWAYS)["expected_move"]
        assert np.isnan(moves).tolist() == [True, False] and moves[-1] == 0.01


def test_a_session_in_another_time_zone_reads_and_writes_the_same(postgres_database: Database, path: str) -> None:
    rows = [price_row(minutes=minutes) for minutes in (0, 719, 1439, 1440)]
    with postgres_database.writing() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar()
        connection.execute(text(f"ALTER DATABASE {name} SET timezone TO 'Pacific/Auckland'"))
    elsewhere = Database(postgres_database.url)
    upsert(elsewhere, raw_prices, prices_of(*rows))
    with elsewhere.reading() as connection:
        assert connection.execute(text("SHOW timezone")).scalar() == "Pacific/Auckland"
    assert stored_rows(elsewhere, raw_prices) == rows
    expected = prices_of(*rows[:3])
    assert same(read_columns(elsewhere, raw_prices, BTC), expected)
    assert same(read_many_columns(elsewhere, raw_prices, BTC), expected)
    assert rows_per_day(elsewhere, raw_prices, BTC) == {(FIRST, "BTC"): 3}
    elsewhere.dispose()


def test_a_symbol_with_a_quote_is_only_a_symbol(database: Database) -> None:
    """ADBC is given its statements with the values inlined."""
    upsert(database, raw_prices, prices_of(price_row("A'B"), price_row("BTC")))
    found = read_many_columns(database, raw_prices, [Slice("A'B", FIRST, FIRST)])
    assert found["symbol"].tolist() == ["A'B"]


def test_a_reader_sees_one_state_and_does_not_wait_for_a_writer(database: Database) -> None:
    upsert(database, raw_prices, prices_of(price_row()))
    with database.reading() as connection:
        before = connection.execute(raw_prices.select()).fetchall()
        upsert(database, raw_prices, prices_of(price_row(minutes=5)))
        assert connection.execute(raw_prices.select()).fetchall() == before
    with database.writing() as connection:
        connection.execute(raw_prices.insert(), price_row(minutes=6))
        lengths: list[int] = []
        reader = threading.Thread(target=lambda: lengths.extend(
            len(read(database, raw_prices, BTC)) for read in (read_columns, read_many_columns)
        ))
        reader.start()
        reader.join(timeout=20)
        assert lengths == [2, 2]
    assert len(read_many_columns(database, raw_prices, BTC)) == 3
