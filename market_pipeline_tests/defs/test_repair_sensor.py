"""History fills itself: what the sensor starts, one run at a time, and why it sometimes does not."""

from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest
import time_machine
from sqlalchemy import and_, delete

from market_pipeline.budget.status import BudgetStatus
from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.defs.automation.repair_decision import PastRun, Situation, next_run
from market_pipeline.defs.automation.stale_scores import outdated, outdated_days
from market_pipeline.defs.partitions import RANGE_END, RANGE_START, range_tags
from market_pipeline.pipeline.missing_days import incomplete_days
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.simulator.faults import Fault
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import raw_prices

SYMBOLS = ("BTC", "ETH", "DOT")
NOW = datetime(2026, 5, 20, 12, tzinfo=timezone.utc)


@pytest.fixture
def sensed(world_of, sqlite_database):
    """A world whose history begins a few days back, so that its runs are short."""
    settled = last_settled_day(utc_now())
    start = (settled - timedelta(days=3)).isoformat()
    return world_of(sqlite_database, HISTORY_START=start, MARKET_SYMBOLS="BTC,ETH,ADA")


def evaluate(world, cursor=None):
    """One evaluation by the daemon."""
    sensor = world.defs.resolve_sensor_def("repair_sensor")
    with dg.build_sensor_context(instance=world.instance, cursor=cursor) as context:
        return sensor.evaluate_tick(context)


def asked(evaluation):
    """The partitions of the run that an evaluation asked for."""
    (request,) = evaluation.run_requests
    return {name: request.tags[name] for name in (RANGE_START, RANGE_END)}


def execute(world, evaluation):
    """The run that an evaluation asked for, executed here instead of by the daemon."""
    (request,) = evaluation.run_requests
    job = world.defs.resolve_job_def(request.job_name)
    return job.execute_in_process(instance=world.instance, tags=request.tags, raise_on_error=False)


def repair_all(world):
    """Evaluate and execute until there is nothing to do; the jobs in order, and the last words."""
    jobs = []
    while (evaluation := evaluate(world)).run_requests:
        jobs.append(evaluation.run_requests[0].job_name)
        assert execute(world, evaluation).success
        assert len(jobs) < 10
    return jobs, evaluation.skip_message


def history_requests(world):
    return [request for request in world.simulator.requests if request.path.endswith("/range")]


def missing(world):
    settled = last_settled_day(utc_now())
    first = world.settings.history_start
    return incomplete_days(world.database, world.settings.catalogue, first, settled, utc_now())


def forget(world, symbol, first, last):
    """Delete the prices of a stretch of days, as an outage would have left them."""
    where = and_(
        raw_prices.c.symbol == symbol,
        raw_prices.c.timestamp >= start_of_day(first),
        raw_prices.c.timestamp < start_of_day(last + timedelta(days=1)),
    )
    with world.database.writing() as connection:
        connection.execute(delete(raw_prices).where(where))


def test_a_first_start_asks_for_thirty_days_of_all_symbols_in_one_run(world):
    evaluation = evaluate(world)
    settled = last_settled_day(utc_now())
    assert evaluation.run_requests[0].job_name == "complete_days"
    assert asked(evaluation) == range_tags(settled - timedelta(days=29), settled, world.symbols)


def test_after_its_run_nothing_is_left_and_within_the_hour_it_looks_again(sensed):
    """One request a symbol; what the next evaluation does not look at, one of the next hour does."""
    jobs, words = repair_all(sensed)
    assert jobs == ["complete_days"]
    assert len(history_requests(sensed)) == len(sensed.symbols)
    assert missing(sensed) == []
    assert words.startswith("Nothing was missing from")
    cursor = evaluate(sensed).cursor
    again = evaluate(sensed, cursor)
    assert "no run has ended since" in again.skip_message
    assert again.cursor == cursor
    settled = last_settled_day(utc_now())
    forget(sensed, "ETH", settled, settled)
    earlier = (utc_now() - timedelta(minutes=61)).isoformat()
    an_hour_later = evaluate(sensed, f"{cursor.rpartition('|')[0]}|{earlier}")
    assert asked(an_hour_later) == range_tags(settled, settled, ["ETH"])


def test_a_corrected_coin_id_is_looked_at_at_once(sensed, world_of):
    repair_all(sensed)
    cursor = evaluate(sensed).cursor
    start = sensed.settings.history_start
    corrected = world_of(
        sensed.database, HISTORY_START=start.isoformat(), MARKET_SYMBOLS="BTC,ETH=ethereum-classic,ADA"
    )
    assert asked(evaluate(corrected, cursor)) == range_tags(start, last_settled_day(utc_now()), ["ETH"])


@pytest.mark.slow
def test_a_hole_is_filled_newest_days_first_and_the_week_after_it_is_scored_again(sensed):
    repair_all(sensed)
    settled = last_settled_day(utc_now())
    hole, newer = settled - timedelta(days=3), settled - timedelta(days=1)
    forget(sensed, "ETH", hole, hole)
    forget(sensed, "BTC", newer, newer)
    sensed.simulator.clear_requests()
    first = evaluate(sensed)
    assert asked(first) == range_tags(newer, newer, ["BTC"])
    assert execute(sensed, first).success
    second = evaluate(sensed)
    assert asked(second) == range_tags(hole, hole, ["ETH"])
    assert execute(sensed, second).success
    assert len(history_requests(sensed)) == 2
    jobs, _ = repair_all(sensed)
    assert jobs and set(jobs) == {"score_days"}
    assert len(history_requests(sensed)) == 2, "scores are computed from what is stored"
    days = [(hole + timedelta(days=n), symbol) for n in range(4) for symbol in sensed.symbols]
    assert outdated_days(sensed.instance, days, sensed.symbols) == []
    assert missing(sensed) == []


def test_a_source_that_fails_is_asked_again_an_hour_later(sensed):
    fault = Fault(kind="status", status=400, code=10012, times=None, path="/coins/cardano")
    sensed.simulator.add_fault(fault)
    run = execute(sensed, evaluate(sensed))
    assert not run.success
    evaluation = evaluate(sensed)
    (request,) = evaluation.run_requests
    assert request.job_name == "score_days", "what came of the others has no anomalies yet"
    assert execute(sensed, evaluation).success
    while (evaluation := evaluate(sensed)).run_requests:
        assert execute(sensed, evaluation).success
    assert f"run {run.run_id[:8]} of complete_days ended without success at" in evaluation.skip_message
    assert "The next try is at" in evaluation.skip_message
    assert {symbol for _, symbol in missing(sensed)} == {"ADA"}


@pytest.mark.slow
def test_a_day_that_the_source_publishes_late_is_complete_the_next_day_without_a_hand(world_of, sqlite_database):
    """Asked at 02:10, at 05:10 and a day later; in between no evaluation asks."""
    today = start_of_day(utc_now().date())
    yesterday = today.date() - timedelta(days=1)
    world = world_of(sqlite_database, HISTORY_START=yesterday.isoformat(), MARKET_SYMBOLS="BTC")
    world.simulator.add_fault(Fault(kind="no_points", times=2))
    for hours, asked_again in ((2.2, "05:12"), (5.3, "05:18")):
        with time_machine.travel(today + timedelta(hours=hours)):
            assert execute(world, evaluate(world)).success
            evaluation = evaluate(world)
            assert not evaluation.run_requests
            assert "1 partitions lack prices" in evaluation.skip_message
            assert f"{asked_again} UTC" in evaluation.skip_message
            assert missing(world) == [(yesterday, "BTC")]
    next_day = today.date()
    with time_machine.travel(today + timedelta(hours=29.2)):
        assert asked(evaluate(world)) == range_tags(next_day, next_day, ["BTC"])
    with time_machine.travel(today + timedelta(hours=29.4)):
        assert asked(evaluate(world)) == range_tags(yesterday, next_day, ["BTC"])
        repair_all(world)
        assert missing(world) == []
    assert len(history_requests(world)) == 3


def test_after_an_outage_history_goes_on_with_the_first_tick_that_succeeds(sensed):
    """Also on a first start; an hour is waited only where the ticks show that the source answers."""
    sensed.simulator.add_fault(Fault(kind="status", status=403, times=None))
    assert not execute(sensed, evaluate(sensed)).success
    assert not sensed.tick().success
    assert "ended without success at" in evaluate(sensed).skip_message
    sensed.simulator.clear_faults()
    assert sensed.tick().success
    again = evaluate(sensed)
    assert again.run_requests[0].job_name == "complete_days"
    sensed.simulator.add_fault(Fault(kind="status", status=403, times=None, path="/coins"))
    assert not execute(sensed, again).success
    assert sensed.tick().success
    assert "ended without success at" in evaluate(sensed).skip_message


def test_a_run_under_way_is_waited_for(sensed):
    job = sensed.defs.resolve_job_def("complete_days")
    run = sensed.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    evaluation = evaluate(sensed)
    assert not evaluation.run_requests
    assert f"Run {run.run_id[:8]} of complete_days is started" in evaluation.skip_message


def test_a_database_without_tables_is_told_with_the_remedy(world_of, tmp_path):
    from sqlalchemy.engine import make_url

    world = world_of(Database(make_url(f"sqlite:///{tmp_path / 'empty.db'}")))
    assert "run `market-pipeline migrate`" in evaluate(world).skip_message


def situation(**changes):
    budget = changes.pop("budget", None) or a_budget()
    values = {"now": NOW, "missing": [], "outdated": [], "past": [], "budget": budget, **changes}
    return Situation(**values)


def a_budget(left=None, reserve=0):
    return BudgetStatus(
        NOW, 5, 5, 0, None, "", None if left is None else 10_000, 0, left, reserve,
        datetime(2026, 6, 1, tzinfo=timezone.utc),
    )  # fmt: skip


def a_run(part, success, ago, job="complete_days"):
    tags = range_tags(*part)
    return PastRun("0123456789", job, tags[RANGE_START], tags[RANGE_END], success, NOW - ago)


DAY = NOW.date() - timedelta(days=2)
LACKING = [(DAY, symbol) for symbol in SYMBOLS]


def test_the_reserve_of_the_live_ticks_is_not_touched():
    request = next_run(situation(missing=LACKING, budget=a_budget(left=900, reserve=900)), SYMBOLS)
    assert isinstance(request, dg.SkipReason)
    assert "3 partitions lack prices" in request.skip_message
    assert "900 of the month's 10,000 remain and 900 are kept for live prices" in request.skip_message
    assert "2026-06-01" in request.skip_message


def test_what_credits_are_left_is_used():
    request = next_run(situation(missing=LACKING, budget=a_budget(left=902, reserve=900)), SYMBOLS)
    assert request.tags == range_tags(DAY, DAY, ("BTC", "ETH"))


def test_an_answer_without_the_prices_is_not_asked_for_every_minute():
    """A coin that CoinGecko does not know is a successful run that changes nothing."""
    done = a_run((DAY, DAY, SYMBOLS), True, timedelta(hours=1))
    request = next_run(situation(missing=LACKING, past=[done]), SYMBOLS)
    assert "it is asked again at 14:00 UTC" in request.skip_message
    later = a_run((DAY, DAY, SYMBOLS), True, timedelta(hours=4))
    assert next_run(situation(missing=LACKING, past=[later]), SYMBOLS).tags == range_tags(DAY, DAY, SYMBOLS)


def test_an_answer_without_prices_does_not_keep_older_days_waiting():
    older = DAY - timedelta(days=3)
    done = a_run((DAY, DAY, ("BTC",)), True, timedelta(hours=1))
    request = next_run(situation(missing=[(DAY, "BTC"), (older, "BTC")], past=[done]), SYMBOLS)
    assert request.tags == range_tags(older, DAY, ("BTC",))


@pytest.mark.parametrize(("minutes", "tried"), [(59, False), (60, True)])
def test_a_failed_run_is_followed_an_hour_later(minutes, tried):
    failed = a_run((DAY, DAY, SYMBOLS), False, timedelta(minutes=minutes))
    request = next_run(situation(missing=LACKING, past=[failed]), SYMBOLS)
    assert isinstance(request, dg.RunRequest) is tried


def test_scores_that_cannot_be_computed_are_not_tried_every_minute():
    failed = a_run((DAY, DAY, SYMBOLS), False, timedelta(minutes=5), job="score_days")
    request = next_run(situation(outdated=LACKING, past=[failed]), SYMBOLS)
    assert "could not be computed again" in request.skip_message


def test_a_day_is_outdated_if_prices_of_another_symbol_came_later():
    """They are a part of its market."""
    days = [(DAY, "BTC"), (DAY + timedelta(days=7), "BTC"), (DAY + timedelta(days=8), "BTC")]
    collected = dict.fromkeys(days, 1) | {(DAY, "ETH"): 5}
    scored = dict.fromkeys(days, 2)
    assert outdated(collected, scored, days) == days[:2]


@pytest.mark.slow
def test_days_scored_by_earlier_detectors_are_scored_again(sensed, monkeypatch):
    repair_all(sensed)
    settled = last_settled_day(utc_now())
    cursor = evaluate(sensed).cursor
    monkeypatch.setattr("market_pipeline.defs.assets.price_anomalies.DETECTOR_VERSION", "next")
    monkeypatch.setattr("market_pipeline.defs.automation.repair_sensor.DETECTOR_VERSION", "next")
    evaluation = evaluate(sensed, cursor)
    assert evaluation.run_requests[0].job_name == "score_days"
    assert asked(evaluation) == range_tags(sensed.settings.history_start, settled, sensed.symbols)
    assert execute(sensed, evaluation).success
    assert "Nothing was missing" in evaluate(sensed, cursor).skip_message


def test_a_day_is_outdated_if_a_day_of_the_week_before_it_came_later():
    day = DAY + timedelta(days=8)
    days = [(DAY + timedelta(days=n), "BTC") for n in range(9)]
    collected = {(when, "BTC"): 1 for when, _ in days} | {(DAY, "BTC"): 5}
    scored = {key: 2 for key in days}
    assert outdated(collected, scored, days) == days[:8]
    assert (day, "BTC") not in outdated(collected, scored, days)
    assert outdated({}, {}, days) == [], "what was never collected has nothing to score"
