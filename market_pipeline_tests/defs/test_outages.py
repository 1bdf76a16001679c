"""Outages and first starts over a simulated clock: what ticks and repairs leave, and what they ask for.

The core's own functions on a real database, a real socket and the keyless plan's five requests a
minute; sleeping moves the clock. The last tests drive the same through Dagster in real time.
"""

from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest

from market_pipeline.budget.plan_limits import Account, Limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.core.clock import DAY, start_of_day, to_microseconds, utc_now
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import parse_catalogue
from market_pipeline.pipeline.collect import collect, store
from market_pipeline.pipeline.missing_days import incomplete_days
from market_pipeline.prices.gaps import Interval, gaps, last_settled_day
from market_pipeline.prices.holes import day_back
from market_pipeline.prices.windows import plan_repairs
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.feed import HOUR
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.queries.source_gaps import stored_absences
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.schema import tables

pytestmark = pytest.mark.slow

NOON = datetime(2026, 11, 20, 12, 0, 4, tzinfo=timezone.utc)
FIVE_MINUTES = timedelta(minutes=5)
# A point of 5-minute history comes at most a minute and a half late.
SPACING = timedelta(minutes=7)
LIVE, HISTORY = "live", "history"


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += timedelta(seconds=seconds)


class SilentMarket(MarketModel):
    """A market whose history and present price stand still in some stretches."""

    silences = ()

    def points(self, coin_id, start, end, step):
        found = super().points(coin_id, start, end, step)
        return [point for point in found if not any(s.start < point[0] < s.end for s in self.silences)]


class Pipeline:
    """Ticks and repairs as the schedules and the sensor start them, at the time of a simulated clock."""

    def __init__(self, database, symbols="BTC,ETH,SOL,ADA,DOT", start=NOON, **budget):
        self.database = database
        self.catalogue = parse_catalogue(symbols)
        database.coins = {coin.symbol: coin.coin_id for coin in self.catalogue}
        self.clock = Clock(start)
        self.market = SilentMarket([coin.coin_id for coin in self.catalogue], seed=1)
        self.budget = SharedBudget(
            database,
            Account("keyless", "127.0.0.1"),
            Limits(5, budget.pop("credits", None)),
            sleep=self.clock.sleep,
            clock=lambda connection: to_microseconds(self.clock.now),
            **budget,
        )

    @contextmanager
    def running(self):
        with (
            Simulator(self.market, requests_per_minute=5, clock=self.clock) as self.simulator,
            CoinGeckoClient(
                self.simulator.base_url, "keyless", None, self.budget, sleep=self.clock.sleep, clock=self.clock
            ) as self.client,
        ):
            yield self

    def collect(self, wanted):
        arrival = collect(
            self.database, self.client, self.catalogue, wanted,
            now=self.clock.now, run_id="run", collect_cron="*/5 * * * *",
        )
        assert arrival.collected.failures == {}
        store(self.database, arrival)
        return arrival.collected

    def tick(self):
        return self.collect([(self.clock.now.date(), symbol) for symbol in self.catalogue.symbols])

    def ticks(self, count):
        for _ in range(count):
            began = self.clock.now
            self.tick()
            self.clock.now = max(self.clock.now, began + FIVE_MINUTES)

    def repair(self):
        """What the sensor starts: the last thirty days."""
        now = self.clock.now
        days = incomplete_days(self.database, self.catalogue, (now - 30 * DAY).date(), now.date(), now)
        for repair in plan_repairs(days, self.catalogue.symbols):
            part = Slice("any", repair.first, repair.last)
            self.collect([(day, symbol) for day in part.days for symbol in repair.symbols])
        return days

    def first_start(self):
        self.ticks(1)
        self.repair()
        self.ticks(2)

    def pass_without_running(self, span):
        self.asked()
        self.clock.now += span

    def asked(self):
        """The endpoints asked since the last call, in order; none was ever refused."""
        sent = self.simulator.requests
        self.simulator.clear_requests()
        assert {request.status for request in sent} <= {200}
        return [LIVE if request.path == "/simple/price" else HISTORY for request in sent]

    def times(self, symbol, first, last):
        return read_columns(self.database, tables.raw_prices, [Slice(symbol, first, last)]).datetimes("timestamp")

    def assert_nothing_is_missing(self, since):
        """No price since `since` that the source could still give: 5-minute points of the last day, hourly ones
        of the days before."""
        now = self.clock.now
        settled = last_settled_day(now)
        assert incomplete_days(self.database, self.catalogue, since.date(), settled, now) == []
        recent = day_back(now)
        for coin in self.catalogue:
            times = self.times(coin.symbol, since.date(), now.date())
            assert gaps(times, max(recent.start, since), max(times), SPACING) == []
            past = Interval(since, recent.start)
            hourly = [moment for moment, _ in self.market.points(coin.coin_id, past.start, past.end, HOUR)]
            missed = [moment for moment in hourly if not _has_near(times, moment)]
            assert missed == []


def _has_near(times, moment):
    return any(abs(time - moment) <= SPACING for time in times)


def test_a_first_start_brings_thirty_days_and_the_beginning_of_today(database):
    with Pipeline(database).running() as pipeline:
        pipeline.tick()
        assert pipeline.asked() == [LIVE], "a symbol without any earlier price has no hole"
        pipeline.repair()
        assert pipeline.asked() == [HISTORY] * 5
        pipeline.ticks(1)
        assert pipeline.asked() == [LIVE] + [HISTORY] * 5
        pipeline.ticks(3)
        assert pipeline.asked() == [LIVE] * 3
        assert pipeline.repair() == []
        pipeline.assert_nothing_is_missing(start_of_day((NOON - 30 * DAY).date()))


@pytest.mark.parametrize("begins", [12, 21], ids=["within a day", "across midnight"])
def test_six_hours_without_running_are_filled_by_the_next_tick(sqlite_database, begins):
    start = start_of_day(NOON.date()) + begins * HOUR
    with Pipeline(sqlite_database, start=start).running() as pipeline:
        pipeline.first_start()
        pipeline.pass_without_running(6 * HOUR)
        filled = pipeline.tick()
        assert pipeline.asked() == [LIVE] + [HISTORY] * 5
        assert filled.filled and not filled.unfilled and not filled.absences
        pipeline.ticks(2)
        assert pipeline.repair() == []
        assert pipeline.asked() == [LIVE] * 2
        pipeline.assert_nothing_is_missing(start_of_day(start.date()))


@pytest.mark.parametrize("first", ["tick", "repair"])
def test_three_days_without_running_are_repaired_and_filled(database, first):
    """Whichever comes first: the sensor or the tick."""
    with Pipeline(database).running() as pipeline:
        pipeline.first_start()
        pipeline.pass_without_running(3 * DAY)
        steps = {"tick": pipeline.tick, "repair": pipeline.repair}
        expected = {"tick": [LIVE] + [HISTORY] * 5, "repair": [HISTORY] * 5}
        for step in [first, *(steps.keys() - {first})]:
            steps[step]()
            assert pipeline.asked() == expected[step]
        pipeline.ticks(2)
        assert pipeline.repair() == []
        assert pipeline.asked() == [LIVE] * 2
        pipeline.assert_nothing_is_missing(start_of_day(NOON.date()))


def test_one_tick_left_out_is_no_outage(sqlite_database):
    with Pipeline(sqlite_database).running() as pipeline:
        pipeline.first_start()
        pipeline.pass_without_running(FIVE_MINUTES)
        pipeline.tick()
        assert pipeline.asked() == [LIVE]


def test_what_the_source_itself_lacks_is_asked_for_once(database):
    """Neither the ticks of the following hours nor the repairs of the following days ask again."""
    with Pipeline(database).running() as pipeline:
        pipeline.first_start()
        began = pipeline.clock.now
        silence = Interval(began + HOUR, began + 4 * HOUR)
        pipeline.market.silences = (silence,)
        pipeline.pass_without_running(6 * HOUR)
        found = pipeline.tick()
        assert pipeline.asked() == [LIVE] + [HISTORY] * 5
        assert {absence.symbol for absence in found.absences} == set(pipeline.catalogue.symbols)
        pipeline.ticks(24)
        assert pipeline.asked() == [LIVE] * 24
        known = stored_absences(database, pipeline.catalogue, began, pipeline.clock.now)
        assert len(known) == 5
        assert all(one.span.start <= silence.start < silence.end <= one.span.end for one in known)
        assert all("points" in one.evidence for one in known)
        pipeline.pass_without_running(DAY)
        pipeline.tick()
        pipeline.repair()
        pipeline.asked()
        assert pipeline.repair() == [], "the night's silence is known too"
        assert pipeline.asked() == []


def test_filling_many_symbols_is_shared_out_among_the_ticks(sqlite_database):
    """At five requests a minute one tick would otherwise hold up the ones after it."""
    symbols = ",".join(f"C{n}=coin-{n}" for n in range(30))
    with Pipeline(sqlite_database, symbols).running() as pipeline:
        pipeline.tick()
        pipeline.pass_without_running(6 * HOUR)
        began = pipeline.clock.now
        first = pipeline.tick()
        assert pipeline.clock.now - began <= timedelta(minutes=5)
        assert first.filled and first.unfilled
        asked = pipeline.asked()
        pipeline.clock.now = began + FIVE_MINUTES
        while pipeline.tick().unfilled:
            pipeline.clock.now += FIVE_MINUTES
        asked += pipeline.asked()
        assert asked.count(HISTORY) == 30, "each symbol is asked for once"
        pipeline.assert_nothing_is_missing(NOON)


def test_a_month_that_is_nearly_spent_keeps_its_credits_for_the_live_prices(sqlite_database, caplog):
    pipeline = Pipeline(sqlite_database, credits=20, live_reserve=lambda now: 15)
    with pipeline.running():
        pipeline.tick()
        pipeline.pass_without_running(6 * HOUR)
        collected = pipeline.tick()
        assert pipeline.asked() == [LIVE] + [HISTORY] * 3
        assert set(collected.unfilled) == {"ADA", "DOT"}
        assert {quote.symbol for quote in collected.quotes} == set(pipeline.catalogue.symbols)
        assert any(message.startswith("The holes of ADA, DOT in the last day stay") for message in caplog.messages)
        pipeline.clock.now += FIVE_MINUTES
        assert set(pipeline.tick().unfilled) == {"ADA", "DOT"}
        assert pipeline.asked() == [LIVE]


def an_outage_in(world, hours):
    """What a world looks like whose last tick was some hours ago."""
    for symbol in world.symbols:
        world.insert(symbol=symbol, timestamp=utc_now() - hours * HOUR, price=1.0)


def test_a_scheduled_tick_fills_the_hole_of_an_outage(world):
    """In real time, through Dagster; close to midnight a part of the points is yesterday's."""
    an_outage_in(world, hours=6)
    assert world.tick().success
    assert [sent.path.rsplit("/", 1)[-1] for sent in world.simulator.requests] == ["price"] + ["range"] * 5
    metadata = world.latest_metadata("raw_prices", world.today, "BTC")
    filled = [row for row in world.prices() if row["source"] == "market_chart"]
    assert metadata["holes_filled"] == len(filled) >= 5 * 68
    assert (metadata["holes_unfilled"], metadata["requests_in_this_run"]) == ("none", 6)
    expected = {f"{row['timestamp'].date()}|{row['symbol']}" for row in filled}
    assert expected <= world.materialized("raw_prices")
    world.simulator.clear_requests()
    assert world.tick().success
    assert [sent.path for sent in world.simulator.requests] == ["/simple/price"]


def test_a_hole_that_begins_before_midnight_marks_yesterday_too(world):
    an_outage_in(world, hours=23)
    assert world.tick().success
    yesterday = {row["symbol"] for row in world.prices() if row["timestamp"] < start_of_day(world.today)}
    marked = {key for key in world.materialized("raw_prices") if key.startswith(str(world.days_ago(1)))}
    assert marked == {f"{world.days_ago(1)}|{symbol}" for symbol in yesterday}


def test_a_hole_that_cannot_be_filled_does_not_fail_the_tick(world):
    an_outage_in(world, hours=2)
    world.simulator.add_fault(Fault(kind="status", status=400, code=10012, path="/coins/solana", times=None))
    result = world.tick()
    assert result.success
    metadata = world.latest_metadata("raw_prices", world.today, "SOL")
    assert metadata["holes_unfilled"].startswith("SOL: ")
    assert {row["symbol"] for row in world.prices() if row["source"] == "market_chart"} == {
        "BTC", "ETH", "ADA", "DOT"
    }


def test_the_live_price_is_stored_before_a_hole_is_filled(world, monkeypatch):
    """Filling may take minutes, and a run that is ended meanwhile must not take the price of now with it."""
    an_outage_in(world, hours=2)
    stored = []
    asked = CoinGeckoClient.market_chart_range

    def looking(self, *arguments):
        stored.append(sum(row["price"] != 1.0 for row in world.prices()))
        return asked(self, *arguments)

    monkeypatch.setattr(CoinGeckoClient, "market_chart_range", looking)
    assert world.tick().success
    assert stored == [5] * 5
