"""Windows of the past on a real socket: how far back is asked, and what an answer proves."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone

import pytest

from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import OutOfReach
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.symbols import Catalogue, parse_catalogue
from market_pipeline.pipeline.collect import fetch_days
from market_pipeline.prices.collection import Collected
from market_pipeline.prices.gaps import Interval
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator

NOW = datetime(2026, 11, 23, 15, 20, 7, tzinfo=timezone.utc)
TODAY = NOW.date()
HOUR = timedelta(hours=1)
Ask = Callable[..., Collected]


class SilentMarket(MarketModel):
    """A market whose history lacks the prices of some stretches."""

    silences: list[Interval] = []

    def points(
        self, coin_id: str, start: datetime, end: datetime, step: timedelta
    ) -> list[tuple[datetime, float]]:
        return [
            (moment, price)
            for moment, price in super().points(coin_id, start, end, step)
            if not any(gap.start < moment < gap.end for gap in self.silences)
        ]


@pytest.fixture
def market() -> SilentMarket:
    made = SilentMarket(seed=1)
    made.silences = []
    return made


@pytest.fixture
def simulator(market: SilentMarket) -> Iterator[Simulator]:
    with Simulator(market, clock=lambda: NOW) as running:
        yield running


@pytest.fixture
def catalogue() -> Catalogue:
    return parse_catalogue("BTC,ETH,PEPE=pepe")


@pytest.fixture
def ask(simulator: Simulator, catalogue: Catalogue, budget: SharedBudget) -> Iterator[Ask]:
    with CoinGeckoClient(
        simulator.base_url, "keyless", None, budget, sleep=lambda _: None, clock=lambda: NOW
    ) as client:
        yield lambda *days: fetch_days(client, catalogue, days, NOW)


def days_ago(first: int, last: int, symbol: str = "BTC") -> list[tuple[date, str]]:
    return [(TODAY - n * DAY, symbol) for n in range(last, first + 1)]


def at(days: int, hour: float) -> datetime:
    return start_of_day(TODAY - days * DAY) + timedelta(hours=hour)


def test_days_beyond_the_plans_reach_fail_without_a_request_and_the_later_ones_are_collected(
    simulator: Simulator, ask: Ask
) -> None:
    collected = ask(*days_ago(400, 366), *days_ago(364, 340), *days_ago(1, 1, "ETH"))
    error = collected.failures["BTC"]
    assert isinstance(error, OutOfReach)
    assert "was not sent" in str(error)
    assert all(word in error.verdict for word in (str(TODAY - 400 * DAY), "365 days", "HISTORY_START"))
    assert set(collected.failures) == {"BTC"} and not error.affects_all
    assert {quote.symbol for quote in collected.quotes} == {"BTC", "ETH"}
    assert [sent.status for sent in simulator.requests] == [200, 200]
    assert min(quote.timestamp for quote in collected.quotes).date() == TODAY - 364 * DAY


def test_of_the_day_at_the_edge_of_the_reach_the_part_within_is_collected(
    simulator: Simulator, ask: Ask
) -> None:
    """With minutes to spare, because the server judges the request's age when it comes."""
    collected = ask(*days_ago(365, 300))
    assert collected.failures == {}
    assert [sent.status for sent in simulator.requests] == [200]
    asked_from = int(simulator.requests[0].query["from"])
    assert asked_from == int((NOW - 365 * DAY).timestamp()) + 600
    assert min(quote.timestamp for quote in collected.quotes).date() == TODAY - 365 * DAY
    assert collected.absences == (), "what was not asked for is not known to be absent"


def test_an_hour_that_the_answer_lacks_is_an_absence_with_its_evidence(
    market: SilentMarket, ask: Ask
) -> None:
    market.silences = [Interval(at(3, 5), at(3, 11))]
    (absence,) = ask(*days_ago(5, 1)).absences
    assert (absence.symbol, absence.coin_id, absence.found_at) == ("BTC", "bitcoin", NOW)
    assert at(3, 4) <= absence.span.start < at(3, 5) and at(3, 11) <= absence.span.end < at(3, 12)
    for word in ("bitcoin", "2026-11-17T18:00:00Z", "2026-11-23T06:00:00Z", "points", "2026-11-23T15:20:07Z"):
        assert word in absence.evidence
    assert absence.proven


@pytest.mark.parametrize(("ends", "proven"), [(3, True), (15, False)], ids=["published", "late"])
def test_prices_after_midnight_prove_a_silence_before_it(
    market: SilentMarket, ask: Ask, ends: int, proven: bool
) -> None:
    """A day is asked for with some hours around it."""
    market.silences = [Interval(at(1, 20), at(0, ends))]
    (absence,) = ask(*days_ago(1, 1)).absences
    assert (absence.span.end, absence.proven) == (at(0, 0), proven)


def test_days_before_a_coin_existed_are_one_absence_without_proof(market: SilentMarket, ask: Ask) -> None:
    market.silences = [Interval(at(400, 0), at(10, 12))]
    (absence,) = ask(*days_ago(60, 1)).absences
    assert absence.span.start == at(60, 0)
    assert at(10, 12) <= absence.span.end < at(10, 13)
    assert not absence.proven


def test_a_silence_that_makes_no_day_incomplete_is_no_absence(market: SilentMarket, ask: Ask) -> None:
    """Most of an hour and a half on either side of midnight: days are judged one by one."""
    market.silences = [Interval(at(3, 22.3), at(2, 0.9))]
    assert ask(*days_ago(5, 1)).absences == ()


def test_no_absence_covers_a_lone_price(market: SilentMarket, ask: Ask) -> None:
    """A price between two silences divides them, and they are proven together."""
    market.silences = [Interval(at(3, 5), at(3, 12)), Interval(at(3, 13), at(3, 20))]
    collected = ask(*days_ago(5, 1))
    first, second = collected.absences
    assert first.span.end == second.span.start in [quote.timestamp for quote in collected.quotes]
    assert first.proven and second.proven


def test_an_empty_answer_proves_nothing_about_its_window(simulator: Simulator, ask: Ask) -> None:
    simulator.add_fault(Fault(kind="no_points"))
    (absence,) = ask(*days_ago(2, 1)).absences
    assert absence.span == Interval(at(2, 0), at(0, 0))
    assert "0 points" in absence.evidence and not absence.proven


def test_a_coin_that_coingecko_does_not_know_has_no_prices_and_that_is_the_evidence(ask: Ask) -> None:
    collected = ask(*days_ago(1, 1, "PEPE"))
    (absence,) = collected.absences
    assert absence.span == Interval(at(1, 0), at(0, 0))
    assert "does not know the coin" in absence.evidence and not absence.proven
    assert [refusal.symbol for refusal in collected.refusals] == ["PEPE"]


def test_a_404_that_does_not_speak_of_the_coin_proves_nothing(
    simulator: Simulator, catalogue: Catalogue, budget: SharedBudget
) -> None:
    """A wrong COINGECKO_BASE_URL answers 404 for every coin; nobody may believe that for ever."""
    wrong = simulator.base_url.replace("/api/v3", "/api/v9")
    with CoinGeckoClient(wrong, "keyless", None, budget, sleep=lambda _: None) as client:
        collected = fetch_days(client, catalogue, days_ago(1, 1), NOW)
    assert (collected.absences, collected.answered) == ((), ())
    assert [refusal.symbol for refusal in collected.refusals] == ["BTC"]


def test_a_refused_point_is_no_proof_of_an_absence(simulator: Simulator, ask: Ask) -> None:
    simulator.add_fault(Fault(kind="null_price"))
    collected = ask(*days_ago(1, 1))
    (absence,), (refusal,) = collected.absences, collected.refusals
    assert refusal.timestamp is not None
    assert absence.span.start < refusal.timestamp < absence.span.end
    assert not absence.proven


def test_the_clock_of_the_server_limits_what_an_answer_proves(
    market: SilentMarket, simulator: Simulator, catalogue: Catalogue, budget: SharedBudget
) -> None:
    """Ours is a day ahead: what we take for yesterday is the server's present day."""
    market.silences = [Interval(at(0, 5), at(0, 11))]
    ahead = NOW + DAY
    with CoinGeckoClient(
        simulator.base_url, "keyless", None, budget, sleep=lambda _: None, clock=lambda: ahead
    ) as client:
        absences = fetch_days(client, catalogue, days_ago(0, 0), ahead).absences
    assert [(one.span.end.hour, one.proven) for one in absences] == [(11, True), (0, False)]
    assert "By the source's clock it was 2026-11-23T15:20:07Z" in absences[1].evidence


def test_a_failed_request_proves_nothing(simulator: Simulator, ask: Ask) -> None:
    simulator.add_fault(Fault(kind="status", status=503, times=None))
    collected = ask(*days_ago(2, 1))
    assert (collected.absences, collected.answered) == ((), ())
    assert set(collected.failures) == {"BTC"}


def test_a_day_that_has_just_ended_is_not_judged(
    market: SilentMarket, simulator: Simulator, catalogue: Catalogue, budget: SharedBudget
) -> None:
    """Its history is published half an hour later."""
    market.silences = [Interval(at(1, 5), at(1, 11))]
    days = days_ago(1, 1)
    for now, expected in ((at(0, 0.9), 0), (at(0, 1), 1)):
        with CoinGeckoClient(simulator.base_url, "keyless", None, budget, clock=lambda: now) as client:
            assert len(fetch_days(client, catalogue, days, now).absences) == expected
