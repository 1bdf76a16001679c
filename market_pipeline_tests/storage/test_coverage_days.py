"""Coverage as measured by the database, against the same measured in Python."""

import random
from datetime import date, timedelta

import pytest
from sqlalchemy import event

from market_pipeline.core.clock import start_of_day
from market_pipeline.core.slices import Slice
from market_pipeline.prices.gaps import day_interval, gaps
from market_pipeline.storage.queries.coverage import day_coverage, first_days
from market_pipeline.storage.queries.silences import recent_silences
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import at, price_row, prices_of

FIRST = date(2024, 3, 1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def store(database):
    """`store(symbol, minutes since `FIRST`, ...)` writes prices of these minutes."""

    def write(symbol, *minutes):
        upsert(database, tables.raw_prices, prices_of(*(price_row(symbol, minute) for minute in minutes)))

    return write


def measured(database, *slices):
    return [(one.symbol, one.day, one.points, one.largest_gap) for one in day_coverage(database, slices)]


def test_points_and_largest_gap_are_those_of_each_day(database, store):
    rng = random.Random(4)
    minutes = sorted(rng.sample(range(8 * 24 * 60), 60))
    store("BTC", *minutes)
    store("ETH", 0, 5)
    times = [start_of_day(FIRST) + timedelta(minutes=minute) for minute in minutes]
    part = Slice("BTC", FIRST + DAY, FIRST + 6 * DAY)
    expected = []
    for day in part.days:
        whole = day_interval(day)
        here = [time for time in times if time.date() == day]
        longest = max(gap.length for gap in gaps(here, whole.start, whole.end, timedelta(0)))
        expected.append(("BTC", day, len(here), longest))
    assert measured(database, part) == expected
    assert {one.expected for one in day_coverage(database, [part])} == {24}


def test_a_day_without_any_point_is_one_gap(database, store):
    store("BTC", 10, 3 * 24 * 60)
    assert [row[2:] for row in measured(database, Slice("BTC", FIRST, FIRST + 2 * DAY))] == [
        (1, DAY - timedelta(minutes=10)), (0, DAY), (0, DAY)
    ]


def test_the_edges_of_a_day_count(database, store):
    """A point at midnight begins its own day and ends nothing of the day before."""
    store("BTC", 0, 24 * 60 - 30, 24 * 60)
    (first, second) = measured(database, Slice("BTC", FIRST, FIRST + DAY))
    assert first[2:] == (2, timedelta(hours=23, minutes=30))
    assert second[2:] == (1, DAY)


def test_slices_keep_their_order_and_cost_one_query_each(database, store):
    store("BTC", 60)
    store("ETH", 120)
    slices = [Slice("ETH", FIRST, FIRST), Slice("BTC", FIRST, FIRST + DAY), Slice("XRP", FIRST, FIRST)]
    statements = []
    event.listen(database._readers, "before_cursor_execute", lambda *told: statements.append(told[2]))
    assert [row[:3] for row in measured(database, *slices)] == [
        ("ETH", FIRST, 1), ("BTC", FIRST, 1), ("BTC", FIRST + DAY, 0), ("XRP", FIRST, 0)
    ]
    assert len([text for text in statements if "raw_prices" in text]) == 3


def test_the_first_day_of_a_symbol_is_that_of_its_oldest_price(database, store):
    store("BTC", 3 * 24 * 60, 24 * 60 - 1)
    assert first_days(database, ["BTC", "ETH"]) == {"BTC": FIRST}


def test_recent_silences_are_those_that_end_in_the_last_day(database, store):
    """A quote from the future ends none."""
    store("BTC", 0, 2_000, 2_400, 2_410, 2_500, 2_595)
    store("ETH", 0)
    store("SOL", 0, 5, 10)
    since = at(2_100)
    found = recent_silences(database, ["SOL", "BTC", "XRP", "ETH"], since, at(2_505), timedelta(minutes=13))
    assert list(found) == ["SOL", "BTC", "ETH"]
    assert found["BTC"].newest == at(2_500)
    assert [(one.start, one.end) for one in found["BTC"].silences] == [
        (at(2_000), at(2_400)), (at(2_410), at(2_500))
    ]
    assert (found["ETH"].newest, found["ETH"].silences) == (at(0), ())
    assert (found["SOL"].newest, found["SOL"].silences) == (at(10), ())


def test_a_silence_of_exactly_the_longest_is_none(database, store):
    store("BTC", 0, 13, 27)
    (silence,) = recent_silences(database, ["BTC"], at(0), at(30), timedelta(minutes=13))["BTC"].silences
    assert (silence.start, silence.end) == (at(13), at(27))


@pytest.mark.parametrize(
    "ask",
    [
        lambda database: day_coverage(database, [Slice("BTC", FIRST, FIRST)]),
        lambda database: recent_silences(database, ["BTC"], start_of_day(FIRST), start_of_day(FIRST) + DAY, HOUR),
        lambda database: first_days(database, ["BTC"]),
    ],
    ids=["coverage", "recent silences", "first days"],
)
def test_the_queries_walk_the_index_and_not_the_table(sqlite_database, ask):
    """Whatever is stored, the cost follows the days asked for."""
    sent = []
    event.listen(sqlite_database._readers, "before_cursor_execute", lambda *told: sent.append(told[2:4]))
    ask(sqlite_database)
    ((statement, parameters),) = [pair for pair in sent if "raw_prices" in pair[0]]
    with sqlite_database.reading() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    steps = [row[3] for row in plan if "raw_prices" in row[3]]
    assert steps and all(step.startswith("SEARCH raw_prices") for step in steps), plan
