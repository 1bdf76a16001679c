"""What the repair sensor decides, as pure functions."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any

import dagster as dg
import pytest

from market_pipeline.budget.status import BudgetStatus
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.dagster_instance.nonpublic import ASSET_JOB
from market_pipeline.defs.automation.repair_decision import PastRun, Situation, next_run, without_outage
from market_pipeline.defs.automation.stale_scores import look_is_due, outdated, recalibrated
from market_pipeline.defs.partitions import RANGE_END, RANGE_START, range_tags
from market_pipeline.pipeline.calibrate import DueCalibrations

SYMBOLS = ("BTC", "ETH", "DOT")
NOW = datetime(2026, 5, 20, 12, tzinfo=timezone.utc)
DAY = NOW.date() - timedelta(days=2)
MISSING = [(DAY, symbol) for symbol in SYMBOLS]
NOT_DUE = DueCalibrations({})
FIRST_ONES = DueCalibrations({NOW: SYMBOLS}, none_known=True, at_once=True)
LATER_ONES = DueCalibrations({NOW: SYMBOLS}, at_once=True)


def a_budget(left: int | None = None, reserve: int = 0) -> BudgetStatus:
    renews_at = datetime(2026, 6, 1, tzinfo=timezone.utc)
    return BudgetStatus(NOW, 5, 5, 0, None, "", None if left is None else 10_000, 0, left, reserve, renews_at)


def decide(
    missing: Sequence[DayOfSymbol] = (), outdated: Sequence[DayOfSymbol] = (), past: Sequence[PastRun] = (),
    budget: BudgetStatus | None = None, calibrations: DueCalibrations = NOT_DUE,
) -> Any:
    return next_run(Situation(NOW, missing, outdated, calibrations, past, budget or a_budget()), SYMBOLS)


def names(assets: Sequence[dg.AssetKey]) -> list[str]:
    return [key.path[-1] for key in assets]


def a_run(
    first: date, last: date, symbols: Sequence[str], ago: timedelta, success: bool, job: str = "complete_days"
) -> PastRun:
    tags = range_tags(first, last, symbols)
    return PastRun("0123456789", job, tags[RANGE_START], tags[RANGE_END], success, NOW - ago)


def test_the_reserve_of_the_live_ticks_is_not_touched_and_what_is_left_is_used() -> None:
    assert isinstance(decide(MISSING, budget=a_budget(left=900, reserve=900)), dg.SkipReason)
    assert decide(MISSING, budget=a_budget(left=902, reserve=900)).tags == range_tags(DAY, DAY, ("BTC", "ETH"))


@pytest.mark.parametrize(
    ("success", "minutes", "tried"), [(False, 59, False), (False, 60, True), (True, 179, False), (True, 180, True)]
)
def test_the_same_days_are_tried_again_an_hour_after_a_failure_and_three_after_a_success(
    success: bool, minutes: int, tried: bool
) -> None:
    """A coin that CoinGecko does not know is a successful run that changes nothing."""
    run = a_run(DAY, DAY, SYMBOLS, timedelta(minutes=minutes), success)
    request = decide(MISSING, past=[run])
    assert isinstance(request, dg.RunRequest) is tried
    assert not tried or request.tags == range_tags(DAY, DAY, SYMBOLS)


def test_a_first_start_calibrates_once_the_newest_days_are_there_and_again_with_all() -> None:
    """The older days and the scores follow; a failed calibration delays neither."""
    older = [(DAY - timedelta(days=n), symbol) for n in range(90, 200) for symbol in SYMBOLS]
    newest = [(DAY - timedelta(days=n), symbol) for n in range(90) for symbol in SYMBOLS]
    first = decide([*newest, *older], calibrations=FIRST_ONES)
    assert first.tags == range_tags(DAY - timedelta(days=89), DAY, SYMBOLS)
    unscored = ["raw_prices", "rejected_prices", "daily_bars"]
    assert names(first.asset_selection) == unscored
    assert decide(older, calibrations=FIRST_ONES).job_name == "calibrate_detectors"
    assert names(decide(older[:180]).asset_selection) == [*unscored, "price_coverage"]
    assert decide(older, calibrations=LATER_ONES).job_name == "complete_days"
    assert decide(outdated=newest, calibrations=LATER_ONES).job_name == "calibrate_detectors"
    failed = PastRun("0123456789", "calibrate_detectors", "", "", False, NOW - timedelta(minutes=59))
    assert decide(older, calibrations=FIRST_ONES, past=[failed]).job_name == "complete_days"
    scores = decide(outdated=newest, calibrations=LATER_ONES, past=[failed])
    assert scores.job_name == "score_days" and scores.asset_selection is None
    assert scores.tags == range_tags(DAY - timedelta(days=89), DAY, SYMBOLS)
    assert decide(MISSING, calibrations=NOT_DUE).asset_selection is None, "few days are scored by the same run"


def test_days_that_fail_again_and_again_do_not_keep_others_waiting() -> None:
    older = DAY - timedelta(days=100)
    failed = a_run(DAY, DAY, ("BTC",), timedelta(minutes=61), False)
    request = decide([(DAY, "BTC"), (older, "ETH")], past=[failed])
    assert request.tags == range_tags(older, older, ("ETH",))


def test_an_answer_without_prices_does_not_block_older_days() -> None:
    older = DAY - timedelta(days=3)
    done = a_run(DAY, DAY, ("BTC",), timedelta(hours=1), True)
    request = decide([(DAY, "BTC"), (older, "BTC")], past=[done])
    assert request.tags == range_tags(older, DAY, ("BTC",))


def test_scores_are_recomputed_once_nothing_is_missing_but_not_every_minute_where_that_fails() -> None:
    assert decide(outdated=MISSING).job_name == "score_days"
    failed = a_run(DAY, DAY, SYMBOLS, timedelta(minutes=5), False, "score_days")
    assert isinstance(decide(outdated=MISSING, past=[failed]), dg.SkipReason)
    done = a_run(DAY, DAY, SYMBOLS, timedelta(minutes=5), True, "score_days")
    assert isinstance(decide(outdated=MISSING, past=[done]), dg.SkipReason), "it changed nothing"
    for job, success in (("calibrate_detectors", True), (ASSET_JOB, True), (ASSET_JOB, False)):
        later = PastRun("0123456789", job, "", "", success, NOW - timedelta(minutes=4))
        assert decide(outdated=MISSING, past=[later, done]).job_name == "score_days", "now it may"
    waiting = a_run(DAY, DAY, SYMBOLS, timedelta(minutes=5), False)
    assert decide(MISSING, MISSING, [waiting]).job_name == "score_days", "meanwhile scores are computed"


@pytest.mark.parametrize(
    ("ticks", "forgiven"),
    [
        ({}, False),
        ({5: False, 10: False}, False),
        ({5: True}, True),
        ({5: True, 10: False}, True),
        ({5: True, 10: True, 40: False}, True),
        ({5: True, 40: True}, False),
        ({5: True, 10: True, 40: True}, False),
    ],
)
def test_a_failure_is_forgiven_once_a_tick_succeeds_unless_the_tick_before_that_did_too(
    ticks: dict[int, bool], forgiven: bool
) -> None:
    """The ticks by how many minutes ago they ended; the run failed 30 minutes ago."""
    failed = a_run(DAY, DAY, SYMBOLS, timedelta(minutes=30), False)
    ended = [a_run(DAY, DAY, SYMBOLS, timedelta(minutes=ago), good, "tick") for ago, good in ticks.items()]
    assert (without_outage([failed], ended) == []) is forgiven


def test_a_day_is_outdated_if_prices_came_later_of_any_symbol_on_it_or_in_the_eight_days_before() -> None:
    days = [(DAY + timedelta(days=n), "BTC") for n in range(10)]
    collected = dict.fromkeys(days, 1) | {(DAY, "ETH"): 5}
    scored = dict.fromkeys(days, 2)
    assert outdated(collected, scored, days) == days[:9]
    assert outdated(collected, {}, days[9:]) == days[9:], "never scored"
    assert outdated({}, {}, days) == [], "what was never collected has nothing to score"


@pytest.mark.parametrize(
    ("scored", "now", "due"),
    [
        (-0.1, 0.1, True), (0.1, 0.2, False), (0.1, 4.2, False), (0.1, 4.3, True), (-9, 4.3, True), (4.2, 4.3, False),
        (4.1, 50, True), (30, 50, False),
    ],
)
def test_a_day_is_scored_again_when_the_next_has_begun_and_when_its_morning_is_over(
    scored: float, now: float, due: bool
) -> None:
    """Hours from the end of the day; a machine that was off looks once."""
    end = datetime(DAY.year, DAY.month, DAY.day + 1, tzinfo=timezone.utc)
    assert look_is_due(DAY, end + timedelta(hours=scored), end + timedelta(hours=now)) is due


def test_a_day_is_outdated_if_its_calibration_was_made_after_its_scores() -> None:
    """It is the newest one that was known when the day began; what went on over midnight depends on that before."""
    day, hour = datetime(DAY.year, DAY.month, DAY.day, tzinfo=timezone.utc), timedelta(hours=1)
    scored: dict[DayOfSymbol, datetime] = {(DAY, "BTC"): NOW, (DAY, "ETH"): NOW + 2 * hour}
    made = {day - 48 * hour: NOW + 3 * hour, day - 24 * hour: NOW, day: NOW + hour}
    assert recalibrated(scored, made) == {(DAY, "BTC")}
    assert recalibrated(scored, {day - hour: NOW, day + hour: NOW + 3 * hour}) == set()
    assert recalibrated(scored, {day - 24 * hour: NOW + 3 * hour, day: NOW}) == set(scored)
