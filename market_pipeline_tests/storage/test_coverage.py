"""Coverage and silences as measured by the database, against the same measured in Python."""

import random
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from market_pipeline.core.slices import Slice
from market_pipeline.prices.gaps import day_interval, gaps
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import day_coverage, first_arrivals, first_days, newest_arrivals
from market_pipeline.storage.queries.silences import recent_silences
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import START, at, price_row, store
from market_pipeline_tests.storage.plans import plans

FIRST = START.date()
DAY = timedelta(days=1)
MINUTES = 24 * 60


def fill(database: Database, symbol: str, *minutes: float) -> None:
    store(database, raw_prices, *(price_row(symbol, minute) for minute in minutes))


def measured(database: Database, *slices: Slice) -> list[tuple[str, date, int, timedelta]]:
    return [(one.symbol, one.day, one.points, one.largest_gap) for one in day_coverage(database, slices)]


def test_points_and_largest_gap_are_those_of_each_day(database: Database) -> None:
    minutes = sorted(random.Random(4).sample(range(8 * MINUTES), 60))
    fill(database, "BTC", *minutes)
    fill(database, "ETH", 0, 5)
    part = Slice("BTC", FIRST + DAY, FIRST + 6 * DAY)
    expected = []
    for day in part.days:
        whole = day_interval(day)
        here = [at(minute) for minute in minutes if at(minute).date() == day]
        longest = max(gap.length for gap in gaps(here, whole.start, whole.end, timedelta(0)))
        expected.append(("BTC", day, len(here), longest))
    assert measured(database, part) == expected
    assert {one.expected for one in day_coverage(database, [part])} == {24}


def test_the_edges_of_a_day_count_and_an_empty_day_is_one_gap(database: Database) -> None:
    """A point at midnight begins its own day and ends nothing of the day before."""
    fill(database, "BTC", 0, MINUTES - 30, MINUTES)
    assert [row[2:] for row in measured(database, Slice("BTC", FIRST, FIRST + 2 * DAY))] == [
        (2, timedelta(hours=23, minutes=30)), (1, DAY), (0, DAY),
    ]


def test_slices_stay_in_their_order(database: Database) -> None:
    fill(database, "BTC", 60)
    fill(database, "ETH", 120)
    slices = [Slice("ETH", FIRST, FIRST), Slice("BTC", FIRST, FIRST + DAY), Slice("XRP", FIRST, FIRST)]
    assert [row[:3] for row in measured(database, *slices)] == [
        ("ETH", FIRST, 1), ("BTC", FIRST, 1), ("BTC", FIRST + DAY, 0), ("XRP", FIRST, 0),
    ]


def test_the_first_day_of_a_symbol_is_that_of_its_oldest_price(database: Database) -> None:
    fill(database, "BTC", 3 * MINUTES, MINUTES - 1)
    assert first_days(database, ["BTC", "ETH"]) == {"BTC": FIRST}


def test_recent_silences_are_those_that_end_in_the_last_day(database: Database) -> None:
    """A quote from the future ends none."""
    fill(database, "BTC", 0, 2_000, 2_400, 2_410, 2_500, 2_595)
    fill(database, "ETH", 0)
    fill(database, "SOL", 0, 5, 10)
    symbols = ["SOL", "BTC", "XRP", "ETH"]
    found = recent_silences(database, symbols, at(2_100), at(2_505), timedelta(minutes=13))
    assert {symbol: (one.newest, [(s.start, s.end) for s in one.silences]) for symbol, one in found.items()} == {
        "SOL": (at(10), []), "ETH": (at(0), []),
        "BTC": (at(2_500), [(at(2_000), at(2_400)), (at(2_410), at(2_500))]),
    }
    assert list(found) == ["SOL", "BTC", "ETH"]


def test_a_silence_of_exactly_the_longest_is_none(database: Database) -> None:
    fill(database, "BTC", 0, 13, 27)
    (silence,) = recent_silences(database, ["BTC"], at(0), at(30), timedelta(minutes=13))["BTC"].silences
    assert (silence.start, silence.end) == (at(13), at(27))


@pytest.mark.parametrize("query", [
    lambda database: day_coverage(database, [Slice("BTC", FIRST, FIRST)]),
    lambda database: recent_silences(database, ["BTC", "ETH"], START, START + DAY, timedelta(hours=1)),
    lambda database: first_days(database, ["BTC", "ETH"]),
], ids=["coverage", "silences", "first days"])
def test_the_queries_walk_the_index_in_one_statement(
    sqlite_database: Database, query: Callable[[Database], Any]
) -> None:
    """Whatever is stored, the cost follows the days of the query."""
    with plans(sqlite_database) as found:
        query(sqlite_database)
    (plan,) = found
    steps = [step for step in plan if "raw_prices" in step]
    assert steps and all(step.startswith("SEARCH raw_prices") for step in steps), plan


def test_the_arrival_of_a_day_is_that_of_its_first_price_and_that_of_a_span_its_last(database: Database) -> None:
    rows = [("BTC", 0, 50), ("BTC", MINUTES - 1, 40), ("BTC", 2 * MINUTES, 60), ("ETH", 5, 70), ("XRP", 3, 90)]
    store(
        database, raw_prices, *(price_row(symbol, minute, ingested_at=at(came)) for symbol, minute, came in rows)
    )
    foreign = price_row("ETH", 1, coin_id="another", ingested_at=at(1))
    store(database, raw_prices, foreign)
    found = first_arrivals(database, ["BTC", "ETH"], FIRST, FIRST + 2 * DAY)
    assert found == {(FIRST, "BTC"): at(50), (FIRST + 2 * DAY, "BTC"): at(60), (FIRST, "ETH"): at(70)}
    assert first_arrivals(database, ["BTC"], FIRST, FIRST - DAY) == first_arrivals(database, [], FIRST, FIRST) == {}
    spans = [(at(0), at(5)), (at(5), at(60)), (at(60), at(MINUTES)), (at(MINUTES), at(MINUTES + 9))]
    newest = {at(0): at(50), at(5): at(70), at(60): at(40)}
    assert newest_arrivals(database, ["BTC", "ETH"], spans) == newest
