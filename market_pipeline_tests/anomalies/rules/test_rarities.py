"""What the rarity of a row rests on, and since when nothing was as rare."""

import math
from dataclasses import replace
from datetime import date, timedelta

import pytest

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.calibration import ALL_COINS, Calibration, LargestDays
from market_pipeline.anomalies.rules.candidate import Candidate
from market_pipeline.anomalies.rules.rarities import rarity_of
from market_pipeline.anomalies.rules.score_table import ScoreTable, group
from market_pipeline.anomalies.scores.tails import Tail
from market_pipeline_tests.anomalies.quotes import START, scores_of, series

AUGUST, MAY = date(2022, 8, 5), date(2022, 5, 9)
LARGEST = LargestDays(date(2022, 1, 1), ((MAY, 9.0), (AUGUST, 6.0)))
CALIBRATION = Calibration(
    START, (1.0,) * 24,
    tails={f"{ALL_COINS} large_move 5-minute": Tail(5.0, 0.2, 0.3, 2.0, 1_000, 400.0)},
    largest={"BTC": LARGEST, ALL_COINS: LARGEST},
)


def table(**large_move_score: float) -> ScoreTable:
    """Two days of quotes of two coins, with scores at the rows given."""
    scores = {int(name[1:]): value for name, value in large_move_score.items()}
    quotes = [100 + n % 2 / 100 for n in range(600)], [300 * n for n in range(600)]
    coins = [series(*quotes, symbol) for symbol in ("BTC", "ETH")]
    return group(scores_of(*coins, large_move_score=scores, market_score=scores))


def large(at: int) -> Candidate:
    return Candidate(Kind.LARGE_MOVE, at, at - 3, 5.0, 1.0, days=900.0)


@pytest.mark.parametrize(
    ("score", "last"), [(5.0, AUGUST), (7.0, MAY), (10.0, None)],
)
def test_the_last_day_with_a_score_as_high_is_remembered(score: float, last: date | None) -> None:
    found = rarity_of(table(r500=score), CALIBRATION, large(500))
    assert (found.basis, found.days, found.excesses, found.cadence) == ("pooled", 400.0, 200, "5-minute")
    assert (found.last_day, found.memory_days) == (last, (START.date() + timedelta(days=1) - LARGEST.since).days)


def test_what_came_after_the_calibration_counts_too() -> None:
    """The scores of the quotes before the move, not those of the move itself nor of another coin."""
    days = [START.date(), START.date() + timedelta(days=1)]
    for row, last in ((100, days[0]), (400, days[1]), (499, MAY), (700, MAY)):
        scores = {f"r{row}": 8.0, "r500": 7.0}
        assert rarity_of(table(**scores), CALIBRATION, large(500)).last_day == last
    event = Candidate(Kind.MARKET_MOVE, 500, 497, 5.0, 1.0, days=900.0)
    assert rarity_of(table(r700=8.0, r500=7.0), CALIBRATION, event).last_day == days[0], "of any coin"
    later = replace(event, rarest=501)
    assert rarity_of(table(r490=5.0, r500=4.0, r501=7.0), CALIBRATION, later).last_day == MAY, "as at its rarest"


def test_a_jump_and_a_start_remember_no_days_and_a_feed_has_no_rarity() -> None:
    jump = Candidate(Kind.JUMP, 500, 499, 5.0, 1.0, days=40.0)
    for calibration, candidate in ((CALIBRATION, jump), (None, large(500))):
        found = rarity_of(table(), calibration, candidate)
        assert (found.basis, found.memory_days, found.last_day) == ("prior", 0.0, None)
    stale = Candidate(Kind.STALE_FEED, 500, 499, 30.0, 15.0)
    assert math.isnan(rarity_of(table(), CALIBRATION, stale).every_days)
