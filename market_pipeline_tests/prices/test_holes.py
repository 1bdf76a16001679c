"""Which silences of the last day are holes, and filling them from a CoinGecko on a real socket."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.core.clock import DAY
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.freshness import longest_silence
from market_pipeline.prices.gaps import Interval
from market_pipeline.prices.holes import RecentPrices, day_back, find_holes, unexplained
from market_pipeline.prices.quotes import Quote
from market_pipeline.prices.quotes import Source as Endpoint
from market_pipeline.simulator.faults import Fault
from market_pipeline_tests.builders import coin_id
from market_pipeline_tests.prices.source import LONGEST_SILENCE, NOW, Source

MINUTE = timedelta(minutes=1)


def ago(minutes: float) -> datetime:
    return NOW - minutes * MINUTE


def hole(start: float, end: float) -> Interval:
    return Interval(ago(start), ago(end))


def live(minutes: float = 0.5) -> list[Quote]:
    return [Quote("BTC", coin_id("BTC"), ago(minutes), 1.0, Endpoint.LIVE, NOW)]


def absence(start: float, end: float, found: float = 120, symbol: str = "BTC") -> Absence:
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
def test_two_ticks_and_some_slack_are_no_hole(cron: str, now: str, minutes: int) -> None:
    moment = datetime.fromisoformat(f"2026-05-04T{now}").replace(tzinfo=timezone.utc)
    assert longest_silence(cron, moment) == minutes * MINUTE


@pytest.mark.parametrize(
    ("newest", "silences", "quotes", "expected"),
    [
        (5, (), live(), []),
        (13.4, (), live(), []),
        (360, (), live(), [hole(360, 0.5)]),
        (360, (), [], []),
        (360, (), live(360), []),
        (5, (hole(300, 240),), live(), [hole(300, 240)]),
        (4_000, (), live(), [Interval(day_back(NOW).start, ago(0.5))]),
        (5, (hole(2_000, 1_420),), live(), []),
    ],
    ids=[
        "a tick ago", "one tick missed", "six hours", "no present price", "a stale present price",
        "between stored prices", "longer than a day", "all but past reach",
    ],
)
def test_a_hole_is_a_long_silence_of_the_last_day(
    newest: float, silences: tuple[Interval, ...], quotes: list[Quote], expected: list[Interval]
) -> None:
    recent = {"BTC": RecentPrices(ago(newest), silences)}
    assert find_holes(recent, quotes, NOW, LONGEST_SILENCE) == ({"BTC": expected} if expected else {})
    assert find_holes({}, quotes, NOW, LONGEST_SILENCE) == {}, "without an earlier price there is no hole"


def test_what_the_source_does_not_have_is_no_hole() -> None:
    holes = {"BTC": [hole(360, 0.5)], "ETH": [hole(60, 0.5)]}
    known = [absence(350, 12), absence(60, 30, symbol="ETH")]
    assert unexplained(holes, known, NOW, LONGEST_SILENCE) == {"ETH": [hole(30, 0.5)]}
    in_an_hour = NOW + timedelta(hours=1)
    assert unexplained(holes, known, in_an_hour, LONGEST_SILENCE) == holes, "three hours after the request"


def test_a_source_found_silent_within_the_hour_is_not_asked_again() -> None:
    """A coin that CoinGecko updates twice an hour would otherwise cost a request for each update."""
    holes = {"BTC": [hole(30, 0.5)]}
    assert unexplained(holes, [absence(61, 31, found=30)], NOW, LONGEST_SILENCE) == {}
    assert unexplained(holes, [absence(91, 61, found=61)], NOW, LONGEST_SILENCE) == holes


def test_holes_are_filled_with_a_point_every_five_minutes_by_one_request(source: Source) -> None:
    one_hour, six_hours = hole(600, 540), hole(365, 5)
    filled = source.fill({"BTC": [one_hour, six_hours]})
    (sent,) = source.simulator.requests
    start, end = int(sent.query["from"]), int(sent.query["to"])
    assert end - start == 86_400, "a shorter window may be answered with nothing"
    assert start == int((NOW - DAY).timestamp()) + 600, "with minutes to spare for waiting"
    assert filled.requests == 1 and filled.filled == [*filled.quotes] and not filled.unfilled
    assert {quote.source for quote in filled.quotes} == {Endpoint.HISTORY}
    times = [quote.timestamp for quote in filled.quotes]
    assert times == sorted(times)
    inside = [[time for time in times if span.start < time < span.end] for span in (one_hour, six_hours)]
    assert len(inside[0]) in (11, 12, 13) and len(inside[1]) in (71, 72, 73)
    assert times == [*inside[0], *inside[1]], "and nothing else"
    assert filled.absences == []
    assert [(coin.symbol, span) for coin, span in filled.answered] == [("BTC", one_hour), ("BTC", six_hours)]


def test_what_the_answer_lacks_is_an_absence(source: Source) -> None:
    source.simulator.add_fault(Fault(kind="no_points"))
    (found,) = source.fill({"BTC": [hole(360, 0.5)]}).absences
    assert (found.span, found.coin_id, found.found_at) == (hole(360, 0.5), "bitcoin", NOW)
    assert "0 points" in found.evidence and not found.proven


@pytest.mark.parametrize(
    ("start", "end", "dated", "proven"),
    [(300, 240, True, True), (300, 240, False, True), (50, 20, True, True), (50, 20, False, False)],
)
def test_prices_on_both_sides_prove_it_up_to_the_servers_clock(
    source: Source, monkeypatch: pytest.MonkeyPatch, start: float, end: float, dated: bool, proven: bool
) -> None:
    """Without a `Date` ours counts, less the hour in which something may still be published."""
    silence = hole(start, end)
    source.market.silences = [silence]
    if not dated:
        monkeypatch.setattr(CoinGeckoClient, "clock_skew", None)
    (found,) = source.fill({"BTC": [hole(360, 0.5)]}).absences
    assert found.span.start <= silence.start and silence.end <= found.span.end
    assert found.proven is proven


def test_an_answer_that_arrived_too_late_to_be_five_minutely_proves_nothing(source: Source) -> None:
    """The request waited in the budget until its window began more than a day ago: the points are hourly."""
    source.wait = 11 * MINUTE
    filled = source.fill({"BTC": [hole(360, 0.5)]})
    assert 5 <= len(filled.quotes) <= 7
    assert (filled.absences, filled.answered) == ([], [])


def test_a_refused_point_of_a_hole_is_quarantined_today(source: Source) -> None:
    source.simulator.add_fault(Fault(kind="negative_price"))
    (refusal,) = source.fill({"BTC": [hole(1_000, 500)]}).refusals
    assert (refusal.symbol, refusal.day, refusal.source) == ("BTC", NOW.date(), Endpoint.HISTORY)


def test_a_failed_request_leaves_the_hole_and_the_others_are_filled(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    source.simulator.add_fault(Fault(kind="status", status=503, path="/coins/bitcoin", times=None))
    filled = source.fill({"BTC": [hole(60, 1)], "ETH": [hole(60, 1)]})
    assert {quote.symbol for quote in filled.quotes} == {"ETH"} and filled.failures == {}
    assert set(filled.unfilled) == {"BTC"}
    assert any("BTC" in message and filled.unfilled["BTC"] in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("fault", "requested"),
    [
        (Fault(kind="status", status=500, times=None), ["bitcoin", "ethereum", "polkadot"]),
        (Fault(kind="status", status=429, retry_after=3_600, times=None), ["bitcoin"]),
    ],
    ids=["outage", "concerns all"],
)
def test_an_error_of_the_whole_source_stops_the_filling(
    source: Source, fault: Fault, requested: Sequence[str]
) -> None:
    source.simulator.add_fault(fault)
    symbols = ("BTC", "ETH", "SOL", "ADA", "DOT")
    filled = source.fill({symbol: [hole(300, 0.5)] for symbol in symbols})
    assert set(filled.unfilled) == set(symbols) and filled.requests == len(source.paths)
    assert list(dict.fromkeys(path.split("/")[2] for path in source.paths)) == requested


def test_filling_stops_after_four_minutes_and_the_next_tick_goes_on(source: Source) -> None:
    source.wait = 3 * MINUTE
    filled = source.fill({symbol: [hole(60, 1)] for symbol in ("BTC", "ETH", "SOL")})
    assert {quote.symbol for quote in filled.quotes} == {"BTC", "ETH"}
    assert set(filled.unfilled) == {"SOL"} and "4 minutes" in filled.unfilled["SOL"]
