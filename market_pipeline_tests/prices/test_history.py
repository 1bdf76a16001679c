"""Windows of the past on a real socket: how far back is requested, and what an answer proves."""

from datetime import datetime, timedelta

import pytest

from market_pipeline.coingecko.errors import OutOfReach
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.prices.gaps import Interval
from market_pipeline.simulator.faults import Fault
from market_pipeline_tests.prices.source import NOW, TODAY, Source, days_ago


def at(days: int, hour: float) -> datetime:
    return start_of_day(TODAY - days * DAY) + timedelta(hours=hour)


def test_days_beyond_the_plans_reach_fail_without_a_request_and_the_later_ones_are_fetched(source: Source) -> None:
    collected = source.fetch(*days_ago(400, 366), *days_ago(364, 340), *days_ago(1, 1, "ETH"))
    error = collected.failures["BTC"]
    assert isinstance(error, OutOfReach)
    assert "was not sent" in str(error)
    assert all(word in error.verdict for word in (str(TODAY - 400 * DAY), "365 days", "HISTORY_START"))
    assert set(collected.failures) == {"BTC"} and not error.affects_all
    assert {quote.symbol for quote in collected.quotes} == {"BTC", "ETH"}
    assert [sent.status for sent in source.simulator.requests] == [200, 200]
    assert min(quote.timestamp for quote in collected.quotes).date() == TODAY - 364 * DAY


def test_of_the_day_at_the_edge_of_the_reach_the_part_within_is_fetched(source: Source) -> None:
    """With minutes to spare, because the server judges the age of the request when it arrives."""
    collected = source.fetch(*days_ago(365, 300))
    assert collected.failures == {}
    (sent,) = source.simulator.requests
    assert (sent.status, int(sent.query["from"])) == (200, int((NOW - 365 * DAY).timestamp()) + 600)
    assert min(quote.timestamp for quote in collected.quotes).date() == TODAY - 365 * DAY
    assert collected.absences == [], "what was not requested is not known to be absent"


def test_hours_that_the_answer_lacks_are_an_absence_with_its_evidence(source: Source) -> None:
    source.market.silences = [Interval(at(3, 5), at(3, 11))]
    (absence,) = source.fetch(*days_ago(5, 1)).absences
    assert (absence.symbol, absence.coin_id, absence.found_at) == ("BTC", "bitcoin", NOW)
    assert at(3, 4) <= absence.span.start < at(3, 5) and at(3, 11) <= absence.span.end < at(3, 12)
    for word in ("bitcoin", "2026-11-17T18:00:00Z", "2026-11-23T06:00:00Z", "points", "2026-11-23T15:20:07Z"):
        assert word in absence.evidence
    assert absence.proven


@pytest.mark.parametrize(("ends", "proven"), [(3, True), (15, False)], ids=["published", "late"])
def test_prices_after_midnight_prove_a_silence_before_it(source: Source, ends: int, proven: bool) -> None:
    """A day is requested with some hours around it."""
    source.market.silences = [Interval(at(1, 20), at(0, ends))]
    (absence,) = source.fetch(*days_ago(1, 1)).absences
    assert (absence.span.end, absence.proven) == (at(0, 0), proven)


def test_days_before_a_coin_existed_are_one_absence_without_proof(source: Source) -> None:
    source.market.silences = [Interval(at(400, 0), at(10, 12))]
    (absence,) = source.fetch(*days_ago(60, 1)).absences
    assert absence.span.start == at(60, 0)
    assert at(10, 12) <= absence.span.end < at(10, 13)
    assert not absence.proven


def test_a_silence_that_makes_no_day_incomplete_is_no_absence(source: Source) -> None:
    """Most of an hour and a half on either side of midnight: days are judged one by one."""
    source.market.silences = [Interval(at(3, 22.3), at(2, 0.9))]
    assert source.fetch(*days_ago(5, 1)).absences == []


def test_a_lone_price_divides_a_silence_and_the_parts_are_proven_together(source: Source) -> None:
    source.market.silences = [Interval(at(3, 5), at(3, 12)), Interval(at(3, 13), at(3, 20))]
    collected = source.fetch(*days_ago(5, 1))
    first, second = collected.absences
    assert first.span.end == second.span.start in [quote.timestamp for quote in collected.quotes]
    assert first.proven and second.proven


def test_an_empty_answer_is_no_failure_and_proves_nothing(source: Source) -> None:
    source.simulator.add_fault(Fault(kind="no_points"))
    collected = source.fetch(*days_ago(2, 1))
    assert (collected.quotes, collected.refusals, collected.failures) == ((), (), {})
    (absence,) = collected.absences
    assert absence.span == Interval(at(2, 0), at(0, 0))
    assert "0 points" in absence.evidence and not absence.proven


def test_a_coin_that_coingecko_does_not_know_has_no_prices_and_that_is_the_evidence(source: Source) -> None:
    collected = source.fetch(*days_ago(1, 1, "PEPE"))
    (absence,) = collected.absences
    assert absence.span == Interval(at(1, 0), at(0, 0))
    assert "does not know the coin" in absence.evidence and not absence.proven
    assert [refusal.symbol for refusal in collected.refusals] == ["PEPE"]


def test_a_404_that_does_not_mention_the_coin_proves_nothing(source: Source) -> None:
    """A wrong COINGECKO_BASE_URL answers 404 for every coin."""
    collected = source.fetch(*days_ago(1, 1), base_url=source.simulator.base_url.replace("/api/v3", "/api/v9"))
    assert (collected.absences, collected.answered) == ([], [])
    assert [refusal.symbol for refusal in collected.refusals] == ["BTC"]


def test_a_failed_request_proves_nothing(source: Source) -> None:
    source.simulator.add_fault(Fault(kind="status", status=503, times=None))
    collected = source.fetch(*days_ago(2, 1))
    assert (collected.absences, collected.answered) == ([], [])
    assert set(collected.failures) == {"BTC"}


def test_a_refused_point_is_no_proof_of_an_absence(source: Source) -> None:
    source.simulator.add_fault(Fault(kind="null_price"))
    collected = source.fetch(*days_ago(1, 1))
    (absence,), (refusal,) = collected.absences, collected.refusals
    assert refusal.timestamp is not None
    assert absence.span.start < refusal.timestamp < absence.span.end
    assert not absence.proven


def test_the_clock_of_the_server_limits_what_an_answer_proves(source: Source) -> None:
    """Ours is a day ahead: what we take for yesterday is the server's present day."""
    source.market.silences = [Interval(at(0, 5), at(0, 11))]
    source.now, source.server_now = NOW + DAY, NOW
    absences = source.fetch(*days_ago(0, 0)).absences
    assert [(absence.span.end.hour, absence.proven) for absence in absences] == [(11, True), (0, False)]
    assert "By the source's clock it was 2026-11-23T15:20:07Z" in absences[1].evidence


@pytest.mark.parametrize(("now", "expected"), [(0.9, 0), (1, 1)])
def test_a_day_that_has_just_ended_is_not_judged(source: Source, now: float, expected: int) -> None:
    """Its history is published half an hour later."""
    source.market.silences = [Interval(at(1, 5), at(1, 11))]
    source.now = at(0, now)
    assert len(source.fetch(*days_ago(1, 1)).absences) == expected
