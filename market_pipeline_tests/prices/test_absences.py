"""What an answer without prices proves, how long that holds, and what a newer answer leaves of it."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from market_pipeline.coingecko.models import RawPoint
from market_pipeline.core.symbols import Coin
from market_pipeline.prices.absences import Absence, AnswerTimes, revised, still_valid
from market_pipeline.prices.gaps import Interval
from market_pipeline.prices.quotes import Source
from market_pipeline.prices.validation import MOST_OF_A_KIND, examine

START = datetime(2026, 5, 1, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
BTC = Coin("BTC", "bitcoin")


def at(hour: float) -> datetime:
    return START + hour * HOUR


def span(start: float, end: float) -> Interval:
    return Interval(at(start), at(end))


def absence(start: float, end: float, found: float = 100, **changes: Any) -> Absence:
    return Absence("BTC", "bitcoin", span(start, end), f"asked at {found}", at(found), **changes)


def again_at(absence: Absence) -> float:
    """The hours from the answer until the next request."""
    assert absence.ask_again_at is not None
    return (absence.ask_again_at - absence.found_at) / HOUR


def test_an_absence_that_a_price_contradicts_gives_way_where_the_answer_covers_it() -> None:
    old = absence(0, 72)
    left = still_valid([old], [span(24, 48)], [at(30)], [])
    assert [(one.span, one.evidence) for one in left] == [(span(0, 24), old.evidence), (span(48, 72), old.evidence)]


def test_an_absence_that_is_found_again_gives_way_to_the_newer_evidence() -> None:
    left = still_valid([absence(0, 72)], [span(24, 48)], [], [absence(24, 48, 101)])
    assert [one.span for one in left] == [span(0, 24), span(48, 72)]


@pytest.mark.parametrize(
    ("old", "answered", "prices"),
    [(absence(30, 30.3), span(24, 48), [29, 30, 30.3, 31]), (absence(2, 9), span(0, 24), [2, 9])],
    ids=["hourly history neither shows nor denies 20 minutes", "prices at the edges"],
)
def test_an_absence_that_an_answer_does_not_contradict_stays(
    old: Absence, answered: Interval, prices: list[float]
) -> None:
    assert still_valid([old], [answered], [at(hour) for hour in prices], []) == [old]


def test_the_waits_between_requests_for_a_silence_grow() -> None:
    waits, hour, known = [], 30.0, list[Absence]()
    for _ in range(6):
        known = revised(known, [span(0, 24)], [], [absence(2, 9, hour)])
        waits.append(again_at(known[0]))
        hour += waits[-1]
    assert waits == [3, 24, 3 * 24, 7 * 24, 30 * 24, 30 * 24]
    assert [(one.times_asked, one.since) for one in known] == [(6, at(30))]


def test_a_request_before_the_time_postpones_nothing() -> None:
    """Requests by hand do not delay the automation."""
    known = list[Absence]()
    for hour in (30, 30.1, 30.2, 32):
        known = revised(known, [span(0, 24)], [], [absence(2, 9, hour)])
    assert [(one.times_asked, one.found_at, one.ask_again_at) for one in known] == [(1, at(32), at(33))]


def test_a_day_that_is_requested_with_older_ones_begins_a_series_of_its_own() -> None:
    old = absence(0, 24, 100, times_asked=5).scheduled()
    known = revised([old], [span(0, 48)], [], [absence(0, 48, 101)])
    assert [(one.span, one.times_asked) for one in known] == [(span(0, 24), 5), (span(24, 48), 1)]
    assert known[1].ask_again_at == at(104)


def test_a_proven_absence_of_long_ago_holds_as_long_again() -> None:
    sixty_days_later = 9 + 60 * 24
    assert again_at(absence(2, 9, sixty_days_later, proven=True).scheduled()) == 60 * 24
    assert again_at(absence(2, 9, sixty_days_later).scheduled()) == 3, "one bad answer is soon repeated"


def test_an_answer_that_proves_nothing_does_not_displace_a_proof_that_holds() -> None:
    proven = absence(2, 9, 30, proven=True).scheduled()
    known = revised([proven], [span(0, 24)], [], [absence(0, 24, 31)])
    assert [(one.span, one.proven) for one in known] == [
        (span(2, 9), True), (span(0, 2), False), (span(9, 24), False)
    ]
    later = revised([proven], [span(0, 24)], [], [absence(0, 24, 40)])
    assert not [one for one in later if one.proven], "by then it has expired"


HOURLY = [n + 0.1 for n in range(-6, 30)]
BOTH_SIDES = [hour for hour in HOURLY if not 5 < hour < 11]


@pytest.mark.parametrize(
    ("hours", "refused", "until", "doubt"),
    [
        (BOTH_SIDES, [], 30, ""),
        ([hour for hour in HOURLY if hour < 5], [], 30, "both sides"),
        ([hour for hour in HOURLY if hour > 11], [], 30, "both sides"),
        ([], [], 30, "both sides"),
        ([-24, 0, 24, 48], [], 72, "too far apart"),
        ([3, 4, 24, 48], [], 72, "too far apart"),
        (BOTH_SIDES, [], 10, "clock"),
        (BOTH_SIDES, [7], 30, "refused"),
        (BOTH_SIDES, [2], 30, ""),
        (BOTH_SIDES, [None], 30, "refused"),
        (BOTH_SIDES, [-400_000], 30, "refused"),
    ],
    ids=[
        "both sides", "late", "nothing before", "empty", "one a day", "one a day after it", "the server's clock",
        "a bad point in it", "a bad point elsewhere", "a bad point of no time", "seconds for milliseconds",
    ],
)
def test_only_an_answer_that_covers_the_time_proves_an_absence(
    hours: list[float], refused: list[float | None], until: float, doubt: str
) -> None:
    claimed = [None if hour is None else at(hour) for hour in refused]
    answer = AnswerTimes(span(-6, 30), [at(hour) for hour in hours], claimed, 2 * HOUR, at(until))
    found = answer.doubt(span(5, 11))
    assert doubt in found and bool(doubt) == bool(found)


@pytest.mark.parametrize(("more", "doubt"), [(0, ""), (1, "refused")])
def test_refusals_that_were_dropped_leave_no_proof(more: int, doubt: str) -> None:
    """Of a day of nulls the first ten are stored; the others may lie in the gap."""
    points = [(hour, 1.0) for hour in BOTH_SIDES] + [(12 + n / 10, None) for n in range(MOST_OF_A_KIND)]
    points += [(7, None)] * more
    examined = examine(
        [RawPoint("bitcoin", price, at(hour).timestamp(), "{}") for hour, price in points],
        coin=BTC, days=[START.date()], now=at(40), source=Source.HISTORY, window=(at(-6), at(30)),
    )
    found = AnswerTimes.of(examined, span(-6, 30), 2 * HOUR, at(40)).doubt(span(5, 11))
    assert doubt in found and bool(doubt) == bool(found)
