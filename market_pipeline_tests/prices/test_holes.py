"""Which silences of the last day are holes, and filling them from a CoinGecko on a real socket."""

from datetime import datetime, timedelta, timezone

import pytest

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.core.clock import DAY
from market_pipeline.core.symbols import parse_catalogue
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import Interval
from market_pipeline.prices.freshness import longest_silence
from market_pipeline.prices.holes import RecentPrices, day_back, fill_holes, find_holes, unexplained
from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.builders import coin_id

NOW = datetime(2026, 11, 23, 15, 20, 7, tzinfo=timezone.utc)
LONGEST = timedelta(minutes=13)
MINUTE = timedelta(minutes=1)


def ago(minutes):
    return NOW - minutes * MINUTE


def hole(start, end):
    return Interval(ago(start), ago(end))


def live(symbol="BTC", minutes=0.5):
    return Quote(symbol, coin_id(symbol), ago(minutes), 1.0, Source.LIVE, NOW)


def absence(start, end, found=120, symbol="BTC"):
    return Absence(symbol, "bitcoin", hole(start, end), "asked", ago(found)).scheduled()


@pytest.mark.parametrize(
    ("cron", "now", "minutes"),
    [
        ("*/5 * * * *", "12:03:10", 13),
        ("*/5 * * * *", "12:05:00", 13),
        ("* * * * *", "12:03:10", 10),
        ("*/15 * * * *", "12:03:10", 33),
        ("0 * * * *", "12:03:10", 123),
    ],
)
def test_two_ticks_and_some_slack_are_no_hole(cron, now, minutes):
    moment = datetime.fromisoformat(f"2026-05-04T{now}").replace(tzinfo=timezone.utc)
    assert longest_silence(cron, moment) == minutes * MINUTE


@pytest.mark.parametrize(
    ("recent", "quotes", "expected"),
    [
        ({}, [live()], {}),
        ({"BTC": RecentPrices(ago(5), ())}, [live()], {}),
        ({"BTC": RecentPrices(ago(13.4), ())}, [live()], {}),
        ({"BTC": RecentPrices(ago(360), ())}, [live()], {"BTC": [hole(360, 0.5)]}),
        ({"BTC": RecentPrices(ago(360), ())}, [], {}),
        ({"BTC": RecentPrices(ago(360), ())}, [live(minutes=360)], {}),
        ({"BTC": RecentPrices(ago(5), (hole(300, 240),))}, [live()], {"BTC": [hole(300, 240)]}),
        ({"BTC": RecentPrices(ago(4_000), ())}, [live()], {"BTC": [Interval(day_back(NOW).start, ago(0.5))]}),
        ({"BTC": RecentPrices(ago(5), (hole(2_000, 1_420),))}, [live()], {}),
    ],
    ids=[
        "never stored before", "a tick ago", "one tick missed", "six hours", "no present price",
        "a stale present price", "between stored prices", "longer than a day", "all but past reach",
    ],
)
def test_a_hole_is_a_long_silence_of_the_last_day(recent, quotes, expected):
    assert find_holes(recent, quotes, NOW, LONGEST) == expected


def test_what_the_source_does_not_have_is_no_hole():
    holes = {"BTC": [hole(360, 0.5)], "ETH": [hole(60, 0.5)]}
    known = [absence(350, 12), absence(60, 30, symbol="ETH")]
    assert unexplained(holes, known, NOW, LONGEST) == {"ETH": [hole(30, 0.5)]}
    assert unexplained(holes, known, NOW + timedelta(hours=1), LONGEST) == holes, "three hours after it was asked"


def test_a_source_found_silent_within_the_hour_is_left_in_peace():
    """A coin that CoinGecko updates twice an hour would otherwise cost a request for each update."""
    holes = {"BTC": [hole(30, 0.5)]}
    assert unexplained(holes, [absence(61, 31, found=30)], NOW, LONGEST) == {}
    assert unexplained(holes, [absence(91, 61, found=61)], NOW, LONGEST) == holes


class SimulatedClock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return SimulatedClock()


@pytest.fixture
def market():
    return MarketModel(seed=1)


@pytest.fixture
def simulator(market, clock):
    with Simulator(market, clock=clock) as running:
        yield running


@pytest.fixture
def fill(simulator, clock, budget):
    """`fill({symbol: [hole, ...]})`, without sleeping."""
    catalogue = parse_catalogue("BTC,ETH,SOL,ADA,DOT")
    with CoinGeckoClient(
        simulator.base_url, "keyless", None, budget, sleep=lambda _: None, clock=clock
    ) as client:
        yield lambda holes: fill_holes(client, catalogue, holes, NOW.date(), LONGEST)


def test_a_hole_is_filled_with_a_point_every_five_minutes_by_one_request(simulator, fill):
    six_hours, one_hour = hole(600, 540), hole(365, 5)
    filled = fill({"BTC": [six_hours, one_hour]})
    (sent,) = simulator.requests
    asked = int(sent.query["from"]), int(sent.query["to"])
    assert asked[1] - asked[0] == 86_400, "a shorter window may be answered with nothing"
    assert asked[0] == int((NOW - DAY).timestamp()) + 600, "with minutes to spare for waiting"
    assert filled.requests == 1 and filled.filled == filled.quotes and not filled.unfilled
    times = [quote.timestamp for quote in filled.quotes]
    assert times == sorted(times)
    assert {quote.source for quote in filled.quotes} == {Source.HISTORY}
    for stretch, points in ((six_hours, 12), (one_hour, 72)):
        inside = [time for time in times if stretch.start < time < stretch.end]
        assert points - 1 <= len(inside) <= points + 1
    assert all(six_hours.start < t < six_hours.end or one_hour.start < t < one_hour.end for t in times)
    assert filled.absences == ()
    assert {(coin.symbol, span) for coin, span in filled.answered} == {("BTC", six_hours), ("BTC", one_hour)}


def test_what_the_answer_lacks_is_an_absence(simulator, fill):
    simulator.add_fault(Fault(kind="no_points"))
    (found,) = fill({"BTC": [hole(360, 0.5)]}).absences
    assert (found.span, found.coin_id, found.found_at) == (hole(360, 0.5), "bitcoin", NOW)
    assert "0 points" in found.evidence and not found.proven


@pytest.mark.parametrize(
    ("start", "end", "dated", "proven"),
    [(300, 240, True, True), (300, 240, False, True), (50, 20, True, True), (50, 20, False, False)],
)
def test_prices_on_both_sides_prove_it_up_to_the_servers_clock(
    market, fill, monkeypatch, start, end, dated, proven
):
    """Without a `Date` ours counts, less the hour in which something may still be published."""
    silence, points = hole(start, end), market.points
    monkeypatch.setattr(
        market, "points", lambda *given: [one for one in points(*given) if not _lies_in(one[0], silence)]
    )
    if not dated:
        monkeypatch.setattr(CoinGeckoClient, "clock_skew", None)
    (found,) = fill({"BTC": [hole(360, 0.5)]}).absences
    assert found.span.start <= silence.start and silence.end <= found.span.end
    assert found.proven is proven


def _lies_in(moment, span):
    return span.start < moment < span.end


def test_an_answer_that_came_too_late_to_be_five_minutely_proves_nothing(simulator, fill, clock, monkeypatch):
    """The request waited its turn until its window began more than a day ago: the points are hourly."""
    asked = CoinGeckoClient.market_chart_range

    def slow(self, *arguments):
        clock.now += 11 * MINUTE
        return asked(self, *arguments)

    monkeypatch.setattr(CoinGeckoClient, "market_chart_range", slow)
    filled = fill({"BTC": [hole(360, 0.5)]})
    assert 5 <= len(filled.quotes) <= 7
    assert (filled.absences, filled.answered) == ((), ())


def test_a_refused_point_of_a_hole_is_quarantined_today(simulator, fill):
    simulator.add_fault(Fault(kind="negative_price"))
    (refusal,) = fill({"BTC": [hole(1_000, 500)]}).refusals
    assert (refusal.symbol, refusal.day, refusal.source) == ("BTC", NOW.date(), Source.HISTORY)


def test_a_failed_request_leaves_the_hole_and_the_others_are_filled(simulator, fill, caplog):
    simulator.add_fault(Fault(kind="status", status=503, path="/coins/bitcoin", times=None))
    filled = fill({"BTC": [hole(60, 1)], "ETH": [hole(60, 1)]})
    assert {quote.symbol for quote in filled.quotes} == {"ETH"}
    assert set(filled.unfilled) == {"BTC"} and "next run" in filled.unfilled["BTC"]
    assert filled.failures == {}
    expected = f"The holes of BTC in the last day stay until the next tick: {filled.unfilled['BTC']}"
    assert expected in caplog.messages


def test_an_outage_stops_the_filling(simulator, fill):
    simulator.add_fault(Fault(kind="status", status=500, times=None))
    symbols = ("BTC", "ETH", "SOL", "ADA", "DOT")
    assert set(fill({symbol: [hole(300, 0.5)] for symbol in symbols}).unfilled) == set(symbols)
    assert [sent.path.split("/")[2] for sent in simulator.requests[::4]] == ["bitcoin", "ethereum", "polkadot"]


def test_an_error_that_meets_everyone_stops_the_filling(simulator, fill):
    simulator.add_fault(Fault(kind="status", status=429, retry_after=3_600, times=None))
    filled = fill({"BTC": [hole(60, 1)], "ETH": [hole(60, 1)]})
    assert len(simulator.requests) == filled.requests == 1
    assert set(filled.unfilled) == {"BTC", "ETH"}


def test_filling_stops_after_four_minutes_and_the_next_tick_goes_on(fill, clock, monkeypatch):
    asked = CoinGeckoClient.market_chart_range

    def slow(self, *arguments):
        clock.now += 3 * MINUTE
        return asked(self, *arguments)

    monkeypatch.setattr(CoinGeckoClient, "market_chart_range", slow)
    filled = fill({symbol: [hole(60, 1)] for symbol in ("BTC", "ETH", "SOL")})
    assert {quote.symbol for quote in filled.quotes} == {"BTC", "ETH"}
    assert set(filled.unfilled) == {"SOL"} and "4 minutes" in filled.unfilled["SOL"]
