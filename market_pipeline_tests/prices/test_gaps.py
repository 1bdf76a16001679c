"""Stretches without a price, and what an answer proves about them."""

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.coingecko.models import RawPoint
from market_pipeline.core.symbols import Coin
from market_pipeline.prices.absences import Absence, AnswerTimes, revised, still_valid
from market_pipeline.prices.gaps import Interval, gaps, last_settled_day, merged, without
from market_pipeline.prices.quotes import Source
from market_pipeline.prices.validation import MOST_OF_A_KIND, examine

START = datetime(2026, 5, 1, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def at(hour):
    return START + hour * HOUR


def span(start, end):
    return Interval(at(start), at(end))


def absence(start, end, evidence="asked"):
    return Absence("BTC", "bitcoin", span(start, end), evidence, at(100))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], [(0, 24)]),
        ([12], [(0, 12), (12, 24)]),
        ([1, 2, 9, 10, 23], [(2, 9), (10, 23)]),
        ([2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22], []),
        ([-5, 30], [(0, 24)]),
        ([23, 10, 2, 9, 1, 10], [(2, 9), (10, 23)]),
    ],
    ids=["nothing", "one", "two gaps", "exactly two hours apart", "all outside", "unordered and doubled"],
)
def test_gaps_are_the_stretches_that_are_too_long_edges_included(times, expected):
    found = gaps([at(hour) for hour in times], at(0), at(24), 2 * HOUR)
    assert found == [span(*pair) for pair in expected]


@pytest.mark.parametrize(
    ("known", "left"),
    [
        ([], [(2, 9)]),
        ([(3, 5)], [(2, 3), (5, 9)]),
        ([(0, 4), (8, 12)], [(4, 8)]),
        ([(2, 9)], []),
        ([(0, 5), (5, 20)], []),
        ([(9, 12), (0, 2)], [(2, 9)]),
    ],
)
def test_what_is_known_is_cut_out(known, left):
    assert without([span(2, 9)], [span(*pair) for pair in known]) == [span(*pair) for pair in left]


hours = st.lists(st.integers(0, 48), max_size=12)
spans = st.tuples(st.integers(0, 40), st.integers(1, 8)).map(lambda pair: span(pair[0], pair[0] + pair[1]))


@given(hours, st.integers(1, 6))
def test_no_stretch_between_gaps_is_too_long_and_no_gap_holds_a_time(times, longest):
    moments = [at(hour) for hour in times]
    found = gaps(moments, at(0), at(48), longest * HOUR)
    assert not [time for time in moments for gap in found if gap.start < time < gap.end]
    bounds = sorted({at(0), at(48), *moments})
    for one, following in zip(bounds, bounds[1:]):
        assert (following - one > longest * HOUR) == (Interval(one, following) in found)


@given(st.lists(spans, max_size=6), st.lists(spans, max_size=6))
def test_cutting_out_leaves_every_half_hour_that_is_not_known(intervals, known):
    left = without(intervals, known)
    for half_hours in range(100):
        moment = at(half_hours / 2 + 0.25)
        inside = any(one.start < moment < one.end for one in intervals)
        excused = any(one.start < moment < one.end for one in known)
        assert any(one.start < moment < one.end for one in left) == (inside and not excused)


@given(st.lists(spans, max_size=8))
def test_merged_intervals_cover_the_same_time_and_never_touch(intervals):
    joined = merged(intervals)
    assert all(one.end < following.start for one, following in zip(joined, joined[1:]))
    assert without(intervals, joined) == [] and without(joined, intervals) == []


@pytest.mark.parametrize(
    ("now", "last"), [("2026-05-03T00:59:59", "2026-05-01"), ("2026-05-03T01:00:00", "2026-05-02")]
)
def test_a_day_is_settled_an_hour_after_its_end(now, last):
    moment = datetime.fromisoformat(now).replace(tzinfo=timezone.utc)
    assert last_settled_day(moment) == date.fromisoformat(last)


def test_an_absence_that_a_price_contradicts_gives_way_where_the_answer_covers_it():
    old = absence(0, 72)
    kept = still_valid([old], [span(24, 48)], [at(30)], [])
    assert [one.span for one in kept] == [span(0, 24), span(48, 72)]
    assert {one.evidence for one in kept} == {old.evidence}


def test_an_absence_that_is_found_again_gives_way_to_the_newer_evidence():
    kept = still_valid([absence(0, 72)], [span(24, 48)], [], [absence(24, 48, "asked again")])
    assert [one.span for one in kept] == [span(0, 24), span(48, 72)]


def test_an_absence_that_an_answer_says_nothing_of_stays():
    """An hourly answer neither shows nor denies a silence of 20 minutes."""
    short = absence(30, 30.3)
    assert still_valid([short], [span(24, 48)], [at(29), at(30), at(30.3), at(31)], []) == [short]


def test_prices_at_the_edges_of_an_absence_do_not_contradict_it():
    old = absence(2, 9)
    assert still_valid([old], [span(0, 24)], [at(2), at(9)], []) == [old]


def asked_at(hour, start=2, end=9, **changes):
    return Absence("BTC", "bitcoin", span(start, end), "asked", at(hour), **changes)


def test_a_silence_is_asked_for_ever_less_often():
    waits, hour, known = [], 30.0, []
    for _ in range(6):
        known = revised(known, [span(0, 24)], [], [asked_at(hour)])
        (absence,) = known
        waits.append((absence.ask_again_at - absence.found_at) / HOUR)
        hour += waits[-1]
    assert waits == [3, 24, 3 * 24, 7 * 24, 30 * 24, 30 * 24]
    assert (absence.times_asked, absence.since) == (6, at(30))


def test_asking_before_the_time_postpones_nothing():
    """Whoever asks by hand again and again does not delay the automation."""
    known = revised([], [span(0, 24)], [], [asked_at(30)])
    for hour in (30.1, 30.2, 32):
        known = revised(known, [span(0, 24)], [], [asked_at(hour)])
    (absence,) = known
    assert (absence.times_asked, absence.found_at, absence.ask_again_at) == (1, at(32), at(33))


def test_a_day_that_is_asked_for_with_older_ones_is_not_taken_for_asked_as_often():
    old = asked_at(100, 0, 24, times_asked=5).scheduled()
    known = revised([old], [span(0, 48)], [], [asked_at(101, 0, 48)])
    assert [(one.span, one.times_asked) for one in known] == [(span(0, 24), 5), (span(24, 48), 1)]
    assert known[1].ask_again_at == at(104)


def test_a_proven_absence_of_long_ago_holds_as_long_again():
    old = asked_at(9 + 60 * 24, proven=True).scheduled()
    assert old.ask_again_at - old.found_at == 60 * 24 * HOUR
    assert asked_at(9 + 60 * 24).scheduled().ask_again_at - old.found_at == 3 * HOUR, "one bad answer is soon mended"


def test_an_answer_that_proves_nothing_does_not_displace_a_proof_that_holds():
    proven = asked_at(30, proven=True).scheduled()
    known = revised([proven], [span(0, 24)], [], [asked_at(31, 0, 24)])
    assert [(one.span, one.proven) for one in known] == [
        (span(2, 9), True), (span(0, 2), False), (span(9, 24), False)
    ]
    later = revised([proven], [span(0, 24)], [], [asked_at(40, 0, 24)])
    assert not [one for one in later if one.proven], "by then it has expired"


HOURLY = [n + 0.1 for n in range(-6, 30)]


@pytest.mark.parametrize(
    ("hours", "refused", "until", "doubt"),
    [
        ([hour for hour in HOURLY if not 5 < hour < 11], [], 30, ""),
        ([hour for hour in HOURLY if hour < 5], [], 30, "both sides"),
        ([hour for hour in HOURLY if hour > 11], [], 30, "both sides"),
        ([], [], 30, "both sides"),
        ([-24, 0, 24, 48], [], 72, "too far apart"),
        ([3, 4, 24, 48], [], 72, "too far apart"),
        ([hour for hour in HOURLY if not 5 < hour < 11], [], 10, "clock"),
        ([hour for hour in HOURLY if not 5 < hour < 11], [7], 30, "refused"),
        ([hour for hour in HOURLY if not 5 < hour < 11], [2], 30, ""),
        ([hour for hour in HOURLY if not 5 < hour < 11], [None], 30, "refused"),
        ([hour for hour in HOURLY if not 5 < hour < 11], [-400_000], 30, "refused"),
    ],
    ids=[
        "both sides", "late", "nothing before", "empty", "one a day", "one a day after it", "the server's clock",
        "a bad point in it", "a bad point elsewhere", "a bad point of no time", "seconds for milliseconds",
    ],
)
def test_only_an_answer_that_covers_the_time_proves_an_absence(hours, refused, until, doubt):
    times = [at(hour) for hour in hours]
    claimed = [None if hour is None else at(hour) for hour in refused]
    answer = AnswerTimes(span(-6, 30), times, claimed, 2 * HOUR, at(until))
    said = answer.doubt(span(5, 11))
    assert doubt in said and bool(doubt) == bool(said)


def test_refusals_of_which_only_some_are_kept_leave_no_proof():
    """A day of nulls keeps the first ten; the others may lie in the gap."""
    def judged(nulls):
        points = [(hour, 1.0) for hour in HOURLY if not 5 < hour < 11] + [(hour, None) for hour in nulls]
        raw = [RawPoint("bitcoin", price, at(hour).timestamp(), "{}") for hour, price in points]
        examined = examine(
            raw, coin=Coin("BTC", "bitcoin"), days=[START.date()], now=at(40), source=Source.HISTORY,
            window=(at(-6), at(30)),
        )
        return AnswerTimes.of(examined, span(-6, 30), 2 * HOUR, at(40)).doubt(span(5, 11))

    elsewhere = [12 + n / 10 for n in range(MOST_OF_A_KIND)]
    assert judged(elsewhere) == ""
    assert "refused" in judged([*elsewhere, 7])
