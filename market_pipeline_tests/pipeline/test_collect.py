"""What a collection reports of its partitions before it is stored, and what it stores."""

from datetime import date, timedelta
from typing import Any

import pytest

from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.pipeline.collect import Arrival, collect, store
from market_pipeline.simulator.faults import Fault
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices
from market_pipeline_tests.builders import stored_rows
from market_pipeline_tests.prices.source import NOW, TODAY, Source

YESTERDAY = TODAY - DAY


def collected(source: Source, database: Database, *days: DayOfSymbol, **options: Any) -> Arrival:
    with source.client() as client:
        return collect(database, client, source.catalogue, days, now=source.now, run_id="r1", **options)


def test_the_facts_of_a_partition_are_those_after_the_arrival_is_stored(
    source: Source, sqlite_database: Database
) -> None:
    """The rows include those stored before, a time that is stored again is no new row."""
    days = [(TODAY, "BTC"), (YESTERDAY, "BTC"), (YESTERDAY, "ETH")]
    first = collected(source, sqlite_database, *days)
    assert set(first.price_facts) == set(first.refusal_facts) == set(days)
    assert stored_rows(sqlite_database, raw_prices) == []
    ether = [quote for quote in first.collected.quotes if (quote.timestamp.date(), quote.symbol) == days[2]]
    assert first.price_facts[days[2]] == {
        "rows": len(ether), "quotes_accepted": len(ether), "rows_written": len(ether), "prices_changed": 0,
        "price_usd": ether[-1].price, "newest_quote": ether[-1].timestamp,
    }
    assert store(sqlite_database, first) == len(first.quotes) == len(stored_rows(sqlite_database, raw_prices))
    known = first.collected.quotes[5]
    changed = {**vars(known), "price": known.price + 1}
    extra = {**changed, "timestamp": known.timestamp + timedelta(seconds=1)}
    upsert(sqlite_database, raw_prices, columns_of(raw_prices, [changed, extra]))
    again = collected(source, sqlite_database, *days)
    day = (known.timestamp.date(), known.symbol)
    before, after = first.price_facts[day], again.price_facts[day]
    assert after == {**before, "rows": before["rows"] + 1, "rows_written": 1, "prices_changed": 1}
    assert store(sqlite_database, again) == 1


def test_a_neighbour_day_that_gets_a_quote_has_facts_too(source: Source, sqlite_database: Database) -> None:
    source.now = start_of_day(TODAY) + timedelta(milliseconds=5)
    arrival = collected(source, sqlite_database, (TODAY, "BTC"))
    assert {day: facts["rows"] for day, facts in arrival.price_facts.items()} == {
        (TODAY, "BTC"): 0, (YESTERDAY, "BTC"): 1
    }
    assert set(arrival.refusal_facts) == {(TODAY, "BTC")}


def test_a_symbol_that_failed_has_no_facts(source: Source, sqlite_database: Database) -> None:
    """Not even of yesterday, where its current price belongs just after midnight."""
    source.now = start_of_day(TODAY) + timedelta(milliseconds=5)
    source.simulator.add_fault(Fault(kind="status", status=503, path="/coins/ethereum", times=None))
    days = [(TODAY, "ETH"), (YESTERDAY - DAY, "ETH"), (TODAY, "SOL")]
    arrival = collected(source, sqlite_database, *days)
    assert set(arrival.collected.failures) == {"ETH"}
    assert {quote.symbol for quote in arrival.collected.quotes} == {"ETH", "SOL"}
    assert set(arrival.price_facts) == {(TODAY, "SOL"), (YESTERDAY, "SOL")}
    assert set(arrival.refusal_facts) == {(TODAY, "SOL")}


def test_refusals_are_counted_once_and_stored_under_the_run(source: Source, sqlite_database: Database) -> None:
    for rows in (1, 1):
        source.simulator.add_fault(Fault(kind="negative_price"))
        arrival = collected(source, sqlite_database, (YESTERDAY, "BTC"))
        assert arrival.refusal_facts == {(YESTERDAY, "BTC"): {"rows": rows, "refused_in_this_run": 1}}
        store(sqlite_database, arrival)
    (refusal,) = stored_rows(sqlite_database, rejected_prices)
    assert (refusal["run_id"], refusal["symbol"], refusal["reason"]) == ("r1", "BTC", "negative_price")


@pytest.mark.parametrize(("ahead", "wrong"), [(3_600, True), (30, False)])
def test_a_clock_that_is_too_wrong_is_a_fact(
    source: Source, sqlite_database: Database, ahead: int, wrong: bool
) -> None:
    source.server_now = NOW - timedelta(seconds=ahead)
    facts = collected(source, sqlite_database, (TODAY, "BTC")).price_facts[TODAY, "BTC"]
    assert ("clock_skew_seconds" in facts) is wrong
    if wrong:
        assert facts["clock_skew_seconds"] == pytest.approx(ahead, abs=1)


@pytest.mark.parametrize(("cron", "requests"), [("*/5 * * * *", 2), (None, 1)])
def test_holes_are_filled_only_with_a_schedule_and_after_the_current_price_is_stored(
    source: Source, sqlite_database: Database, cron: str | None, requests: int
) -> None:
    """Filling may take minutes, and a run that ends meanwhile must not lose the current price."""
    stored: list[date] = []
    source.before_history = lambda: stored.extend(
        row["timestamp"].date() for row in stored_rows(sqlite_database, raw_prices) if row["price"] != 1.0
    )
    six_hours_ago = {
        "symbol": "BTC", "coin_id": "bitcoin", "timestamp": NOW - timedelta(hours=6), "price": 1.0,
        "source": "simple_price", "ingested_at": NOW - timedelta(hours=6),
    }
    upsert(sqlite_database, raw_prices, columns_of(raw_prices, [six_hours_ago]))
    arrival = collected(source, sqlite_database, (TODAY, "BTC"), collect_cron=cron)
    assert len(source.paths) == arrival.collected.requests == requests
    assert bool(arrival.collected.filled) is bool(cron) and stored == ([TODAY] if cron else [])
