"""Outages and first starts over a simulated clock: what ticks and repairs store, and what they request.

The use cases on a real database, a real socket and the keyless plan's five requests a minute; sleeping moves the
clock.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from market_pipeline.budget.plan_limits import Account, Limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.core.clock import DAY, start_of_day, to_microseconds
from market_pipeline.core.slices import DayOfSymbol, Slice
from market_pipeline.core.symbols import parse_catalogue
from market_pipeline.pipeline.collect import collect, store
from market_pipeline.pipeline.missing_days import incomplete_days
from market_pipeline.prices.collection import Collection
from market_pipeline.prices.gaps import Interval, gaps, last_settled_day
from market_pipeline.prices.holes import day_back
from market_pipeline.prices.windows import plan_repairs
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.source_gaps import stored_absences
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.prices.source import SilentMarket

NOON = datetime(2026, 11, 20, 12, 0, 4, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
FIVE_MINUTES = timedelta(minutes=5)
# A point of 5-minute history is at most a minute and a half late.
SPACING = timedelta(minutes=7)
LIVE, HISTORY = "live", "history"


class Pipeline:
    """Ticks and repairs as the schedules and the sensor start them, at the time of a simulated clock."""

    def __init__(
        self, database: Database, symbols: str = "BTC,ETH,SOL,ADA,DOT", start: datetime = NOON,
        credits: int | None = None, **budget: Any,
    ) -> None:
        self.catalogue = parse_catalogue(symbols)
        self.database = Database(database.url, self.catalogue.ids)
        self.now = start
        self.market = SilentMarket([coin.coin_id for coin in self.catalogue], seed=1)
        self.budget = SharedBudget(
            self.database,
            Account("keyless", "127.0.0.1"),
            Limits(5, credits),
            sleep=self.sleep,
            clock=lambda connection: to_microseconds(self.now),
            **budget,
        )

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @contextmanager
    def running(self) -> Iterator["Pipeline"]:
        def clock() -> datetime:
            return self.now

        with (
            Simulator(self.market, requests_per_minute=5, clock=clock) as self.simulator,
            CoinGeckoClient(
                self.simulator.base_url, "keyless", None, self.budget, sleep=self.sleep, clock=clock
            ) as self.client,
        ):
            yield self
        self.database.dispose()

    def collect(self, days: Sequence[DayOfSymbol]) -> Collection:
        arrival = collect(
            self.database, self.client, self.catalogue, days,
            now=self.now, run_id="run", collect_cron="*/5 * * * *",
        )
        assert arrival.collected.failures == {}
        store(self.database, arrival)
        return arrival.collected

    def tick(self) -> Collection:
        return self.collect([(self.now.date(), symbol) for symbol in self.catalogue.symbols])

    def ticks(self, count: int) -> None:
        for _ in range(count):
            began = self.now
            self.tick()
            self.now = max(self.now, began + FIVE_MINUTES)

    def repair(self) -> list[DayOfSymbol]:
        """Do what the sensor starts: complete the last thirty days."""
        first, last = (self.now - 30 * DAY).date(), self.now.date()
        days = incomplete_days(self.database, self.catalogue, first, last, self.now)
        for repair in plan_repairs(days, self.catalogue.symbols):
            part = Slice("any", repair.first, repair.last)
            self.collect([(day, symbol) for day in part.days for symbol in repair.symbols])
        return days

    def first_start(self) -> None:
        self.ticks(1)
        self.repair()
        self.ticks(2)

    def pass_without_running(self, span: timedelta) -> None:
        self.requested()
        self.now += span

    def requested(self) -> list[str]:
        """The endpoints requested since the last call, in order; none was ever refused."""
        sent = self.simulator.requests
        self.simulator.clear_requests()
        assert {request.status for request in sent} <= {200}
        return [LIVE if request.path == "/simple/price" else HISTORY for request in sent]

    def times(self, symbol: str, first: date, last: date) -> list[datetime]:
        return read_columns(self.database, raw_prices, [Slice(symbol, first, last)]).datetimes("timestamp")

    def assert_nothing_is_missing(self, since: datetime) -> None:
        """Nothing since then that the source could still give: 5-minute points of the last day, hourly ones before."""
        settled = last_settled_day(self.now)
        assert incomplete_days(self.database, self.catalogue, since.date(), settled, self.now) == []
        recent = day_back(self.now)
        for coin in self.catalogue:
            times = self.times(coin.symbol, since.date(), self.now.date())
            assert gaps(times, max(recent.start, since), max(times), SPACING) == []
            hourly = [moment for moment, _ in self.market.points(coin.coin_id, since, recent.start, HOUR)]
            assert [moment for moment in hourly if not any(abs(time - moment) <= SPACING for time in times)] == []


def test_a_first_start_brings_thirty_days_and_the_beginning_of_today(database: Database) -> None:
    with Pipeline(database).running() as pipeline:
        pipeline.tick()
        assert pipeline.requested() == [LIVE], "a symbol without any earlier price has no hole"
        pipeline.repair()
        assert pipeline.requested() == [HISTORY] * 5
        pipeline.ticks(1)
        assert pipeline.requested() == [LIVE] + [HISTORY] * 5
        pipeline.ticks(3)
        assert pipeline.repair() == [] and pipeline.requested() == [LIVE] * 3
        pipeline.assert_nothing_is_missing(start_of_day((NOON - 30 * DAY).date()))
        pipeline.pass_without_running(FIVE_MINUTES)
        pipeline.tick()
        assert pipeline.requested() == [LIVE], "one tick left out is no outage"


@pytest.mark.parametrize("begins", [12, 21], ids=["within a day", "across midnight"])
def test_six_hours_without_running_are_filled_by_the_next_tick(sqlite_database: Database, begins: int) -> None:
    start = start_of_day(NOON.date()) + begins * HOUR
    with Pipeline(sqlite_database, "BTC,ETH", start).running() as pipeline:
        pipeline.first_start()
        pipeline.pass_without_running(6 * HOUR)
        filled = pipeline.tick()
        assert pipeline.requested() == [LIVE] + [HISTORY] * 2
        assert filled.filled and not filled.unfilled and not filled.absences
        pipeline.ticks(2)
        assert pipeline.repair() == [] and pipeline.requested() == [LIVE] * 2
        pipeline.assert_nothing_is_missing(start_of_day(start.date()))


@pytest.mark.parametrize("order", [("tick", "repair"), ("repair", "tick")])
def test_three_days_without_running_are_repaired_and_filled(
    sqlite_database: Database, order: tuple[str, str]
) -> None:
    """Whichever comes first: the sensor or the tick."""
    with Pipeline(sqlite_database, "BTC,ETH").running() as pipeline:
        pipeline.first_start()
        pipeline.pass_without_running(3 * DAY)
        for step in order:
            if step == "tick":
                pipeline.tick()
                assert pipeline.requested() == [LIVE] + [HISTORY] * 2
            else:
                pipeline.repair()
                assert pipeline.requested() == [HISTORY] * 2
        pipeline.ticks(2)
        assert pipeline.repair() == [] and pipeline.requested() == [LIVE] * 2
        pipeline.assert_nothing_is_missing(start_of_day(NOON.date()))


def test_what_the_source_itself_lacks_is_requested_once(sqlite_database: Database) -> None:
    """Neither the ticks of the following hours nor the repairs of the following days ask again."""
    with Pipeline(sqlite_database, "BTC,ETH").running() as pipeline:
        pipeline.first_start()
        began = pipeline.now
        silence = Interval(began + HOUR, began + 4 * HOUR)
        pipeline.market.silences = (silence,)
        pipeline.pass_without_running(6 * HOUR)
        found = pipeline.tick()
        assert pipeline.requested() == [LIVE] + [HISTORY] * 2
        assert {absence.symbol for absence in found.absences} == {"BTC", "ETH"}
        pipeline.ticks(24)
        assert pipeline.requested() == [LIVE] * 24
        known = stored_absences(pipeline.database, pipeline.catalogue, began, pipeline.now)
        assert len(known) == 2
        assert all(one.span.start <= silence.start < silence.end <= one.span.end for one in known)
        pipeline.pass_without_running(DAY)
        pipeline.tick()
        pipeline.repair()
        pipeline.requested()
        assert pipeline.repair() == [], "the night's silence is known too"
        assert pipeline.requested() == []


def test_filling_many_symbols_is_shared_out_among_the_ticks(sqlite_database: Database) -> None:
    """At five requests a minute one tick would otherwise hold up the ones after it."""
    symbols = ",".join(f"C{n}=coin-{n}" for n in range(30))
    with Pipeline(sqlite_database, symbols).running() as pipeline:
        pipeline.tick()
        pipeline.pass_without_running(6 * HOUR)
        began = pipeline.now
        first = pipeline.tick()
        assert pipeline.now - began <= timedelta(minutes=5)
        assert first.filled and first.unfilled
        sent = pipeline.requested()
        pipeline.now = began + FIVE_MINUTES
        while pipeline.tick().unfilled:
            pipeline.now += FIVE_MINUTES
        sent += pipeline.requested()
        assert sent.count(HISTORY) == 30, "one request for each symbol"
        pipeline.assert_nothing_is_missing(NOON)


def test_a_month_that_is_nearly_spent_saves_its_credits_for_current_prices(sqlite_database: Database) -> None:
    with Pipeline(sqlite_database, credits=20, live_reserve=lambda now: 15).running() as pipeline:
        pipeline.tick()
        pipeline.pass_without_running(6 * HOUR)
        collected = pipeline.tick()
        assert pipeline.requested() == [LIVE] + [HISTORY] * 3
        assert set(collected.unfilled) == {"ADA", "DOT"}
        assert {quote.symbol for quote in collected.quotes} == set(pipeline.catalogue.symbols)
        pipeline.now += FIVE_MINUTES
        assert set(pipeline.tick().unfilled) == {"ADA", "DOT"}
        assert pipeline.requested() == [LIVE]
