"""Reads give exactly the asked slices, in order, from either path alike."""

import random
import threading
from datetime import timedelta

import pytest

from market_pipeline.core.slices import Slice, merge_days
from market_pipeline.storage.rows.read import read_columns, read_frame, rows_per_day
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices
from market_pipeline_tests.builders import START, at, price_row, prices_of, refusal_row, refusals_of

HOUR, DAY = 60, 24 * 60


@pytest.fixture
def filled(database):
    """Six days of three symbols, a price every four hours from the first instant of each day."""
    rows = [
        price_row(s, m, price=1.0 + m) for s in ("ADA", "BTC", "ETH") for m in range(0, 6 * DAY, 4 * HOUR)
    ]
    upsert(database, raw_prices, prices_of(*rows))
    return rows


def test_exactly_the_asked_days_are_read_in_order(database, filled):
    first = START.date()
    days = [
        (first + timedelta(days=n), s)
        for n, s in [(0, "ETH"), (1, "ETH"), (4, "ETH"), (5, "ADA"), (2, "ADA")]
    ]
    random.Random(1).shuffle(days)
    slices = merge_days(days)
    expected = [row for row in filled if (row["timestamp"].date(), row["symbol"]) in days]
    columns, frame = read_columns(database, raw_prices, slices), read_frame(database, raw_prices, slices)
    assert (
        columns.datetimes("timestamp")
        == frame["timestamp"].tolist()
        == [row["timestamp"] for row in expected]
    )
    for name in ("symbol", "price", "source"):
        assert columns[name].tolist() == frame[name].tolist() == [row[name] for row in expected]
    assert columns.to_frame().equals(frame[list(columns.arrays)])
    assert rows_per_day(database, raw_prices, slices) == {day: 6 for day in days}


def test_a_day_begins_at_midnight_and_ends_before_the_next(database):
    last = price_row(timestamp=at(DAY) - timedelta(microseconds=1))
    upsert(database, raw_prices, prices_of(price_row(), last, price_row(minutes=DAY)))
    day = START.date()
    read = read_columns(database, raw_prices, [Slice("BTC", day, day)])
    assert read.datetimes("timestamp") == [at(0), last["timestamp"]]
    assert rows_per_day(database, raw_prices, [Slice("BTC", day, day + timedelta(days=1))]) == {
        (day, "BTC"): 2,
        (day + timedelta(days=1), "BTC"): 1,
    }


@pytest.mark.parametrize("names", [["price", "timestamp"], ["symbol"], ["timestamp", "symbol"]])
def test_only_the_asked_columns_are_read_in_the_asked_order(database, filled, names):
    part = [
        Slice("ADA", START.date(), START.date()),
        Slice("BTC", START.date(), START.date()),
    ]
    columns, frame = (
        read_columns(database, raw_prices, part, names),
        read_frame(database, raw_prices, part, names),
    )
    assert list(columns.arrays) == list(frame.columns) == names
    assert len(columns) == len(frame) == 12
    assert (
        columns[names[0]].tolist() == columns.to_frame()[names[0]].to_numpy(columns[names[0]].dtype).tolist()
    )


def test_an_unknown_column_is_named(database):
    for read in (read_columns, read_frame):
        with pytest.raises(ValueError, match=r"raw_prices has no columns \['prise'\]; it has \['symbol'"):
            read(database, raw_prices, [], ["prise"])


def test_refusals_are_counted_by_the_day_they_are_filed_under(database):
    upsert(
        database,
        rejected_prices,
        refusals_of(*(refusal_row(n, timestamp=at(90 * DAY)) for n in range(3))),
    )
    day = START.date()
    assert rows_per_day(database, rejected_prices, [Slice("BTC", day, day)]) == {(day, "BTC"): 3}
    assert read_columns(database, rejected_prices, [Slice("BTC", day, day)])["day"].tolist() == [day] * 3
    assert read_frame(database, rejected_prices, [Slice("BTC", day, day)])["day"].tolist() == [day] * 3


def test_a_reader_sees_one_state_while_a_writer_commits(database):
    """Both counts of one reading agree, whatever is committed between."""
    day = START.date()
    upsert(database, raw_prices, prices_of(price_row()))
    with database.reading() as connection:
        before = connection.execute(raw_prices.select()).fetchall()
        upsert(database, raw_prices, prices_of(price_row(minutes=5)))
        assert connection.execute(raw_prices.select()).fetchall() == before
    assert len(read_columns(database, raw_prices, [Slice("BTC", day, day)])) == 2


def test_reading_does_not_wait_for_a_writer(database):
    upsert(database, raw_prices, prices_of(price_row()))
    part = [Slice("BTC", START.date(), START.date())]
    with database.writing() as connection:
        connection.execute(raw_prices.insert(), price_row(minutes=5))
        lengths = []
        reader = threading.Thread(
            target=lambda: lengths.extend(
                [len(read_columns(database, raw_prices, part)), len(read_frame(database, raw_prices, part))]
            )
        )
        reader.start()
        reader.join(timeout=20)
        assert lengths == [1, 1]
    assert len(read_frame(database, raw_prices, part)) == 2
