"""History fills itself: what the sensor starts, one run at a time, and why it sometimes does not."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import time_machine
from sqlalchemy import and_, delete
from sqlalchemy.engine import make_url

from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.core.slices import DayOfSymbol, Slice
from market_pipeline.dagster_instance.nonpublic import ASSET_JOB, latest_storage_ids
from market_pipeline.dagster_instance.ownership import INSTALLATION
from market_pipeline.defs.automation import repair_sensor
from market_pipeline.defs.automation.missing_events import record_complete_days, record_open_day
from market_pipeline.defs.automation.partition_events import PartitionEvents
from market_pipeline.defs.automation.stale_scores import outdated_days, unbarred_days
from market_pipeline.defs.partitions import RANGE_END, RANGE_START, partition_key, range_tags
from market_pipeline.pipeline.missing_days import days_to_repair, incomplete_days
from market_pipeline.pipeline.names import COMPLETE_DAYS
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import Interval, last_settled_day
from market_pipeline.prices.windows import plan_repairs
from market_pipeline.simulator.faults import Fault
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import save_calibrations
from market_pipeline.storage.queries.source_gaps import record_absences
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import price_row, store
from market_pipeline_tests.dagster_records import executed
from market_pipeline_tests.defs.world import World, WorldOf

DAY = timedelta(days=1)


@pytest.fixture
def sensed(world_of: WorldOf, sqlite_database: Database) -> World:
    """A world of two coins whose history begins a few days back."""
    start = last_settled_day(utc_now()) - 3 * DAY
    return world_of(sqlite_database, history_start=start, market_symbols="BTC,ETH")


def requested(evaluation: Any) -> dict[str, str]:
    """The partitions of the run that an evaluation requested."""
    (request,) = evaluation.run_requests
    return {name: request.tags[name] for name in (RANGE_START, RANGE_END)}


def execute(world: World, evaluation: Any) -> dg.ExecuteInProcessResult:
    """The run that an evaluation requested, executed here instead of by the daemon."""
    (request,) = evaluation.run_requests
    return world.execute(request.job_name, request.tags, request.asset_selection)


def repair_all(world: World) -> list[str]:
    """Evaluate and execute until there is nothing to do; the jobs in order."""
    jobs: list[str] = []
    while (evaluation := world.evaluate_sensor()).run_requests:
        jobs.append(evaluation.run_requests[0].job_name)
        assert execute(world, evaluation).success
        assert len(jobs) < 10
    return jobs


def history_requests(world: World) -> int:
    return sum(request.path.endswith("/range") for request in world.simulator.requests)


def missing(world: World) -> list[DayOfSymbol]:
    settled, first = last_settled_day(utc_now()), world.settings.history_start
    return incomplete_days(world.database, world.settings.catalogue, first, settled, utc_now())


def forget(world: World, symbol: str, day: date) -> None:
    """Delete the prices of a day, as an outage would have left it."""
    of_day = and_(
        raw_prices.c.symbol == symbol,
        raw_prices.c.timestamp >= start_of_day(day),
        raw_prices.c.timestamp < start_of_day(day + DAY),
    )
    with world.database.writing() as connection:
        connection.execute(delete(raw_prices).where(of_day))


def test_a_first_start_requests_all_days_within_reach_the_newest_ninety_first(
    world_of: WorldOf, sqlite_database: Database
) -> None:
    """One request for 90 days of a symbol; without a paid plan CoinGecko serves 365 days."""
    now, settled = utc_now(), last_settled_day(utc_now())
    long_ago = now.date() - 400 * DAY
    world = world_of(
        sqlite_database, history_start=long_ago, coingecko_plan="keyless", coingecko_api_key=None,
        coingecko_monthly_credits=None,
    )
    evaluation = world.evaluate_sensor()
    assert evaluation.run_requests[0].job_name == "complete_days"
    assert requested(evaluation) == range_tags(settled - 89 * DAY, settled, world.symbols)
    days = {(one.day, one.symbol) for one in days_to_repair(world.database, world.settings, now)}
    oldest = now.date() - 364 * DAY
    assert days == {(day, symbol) for symbol in world.symbols for day in Slice(symbol, oldest, settled).days}
    assert sum(repair.requests for repair in plan_repairs(days, world.symbols)) == 25


def test_after_its_run_nothing_is_left_and_the_next_check_is_within_the_hour_or_after_a_corrected_id(
    sensed: World, world_of: WorldOf
) -> None:
    """One request a symbol; the cursor records that there was nothing to do."""
    jobs = repair_all(sensed)
    assert jobs[:2] == ["complete_days", "calibrate_detectors"] and set(jobs[2:]) <= {"score_days"}
    assert history_requests(sensed) == len(sensed.symbols) and missing(sensed) == []
    cursor = sensed.evaluate_sensor().cursor
    again = sensed.evaluate_sensor(cursor)
    assert not again.run_requests and again.cursor == cursor
    settled, start = last_settled_day(utc_now()), sensed.settings.history_start
    corrected = world_of(
        sensed.database, history_start=start, market_symbols="BTC,ETH=ethereum-classic"
    )
    assert requested(corrected.evaluate_sensor(cursor)) == range_tags(start, settled, ["ETH"])
    forget(sensed, "ETH", settled)
    assert not sensed.evaluate_sensor(cursor).run_requests
    earlier = (utc_now() - timedelta(minutes=61)).isoformat()
    an_hour_later = sensed.evaluate_sensor(f"{cursor.rpartition('|')[0]}|{earlier}")
    assert requested(an_hour_later) == range_tags(settled, settled, ["ETH"])


def test_missed_nights_are_filled_newest_days_first_and_the_week_after_is_scored_again(sensed: World) -> None:
    """What the nightly completion does not make up for, since it covers yesterday only."""
    repair_all(sensed)
    settled = last_settled_day(utc_now())
    hole, newer = settled - 3 * DAY, settled - DAY
    forget(sensed, "ETH", hole)
    forget(sensed, "BTC", newer)
    sensed.simulator.clear_requests()
    for day, symbol in ((newer, "BTC"), (hole, "ETH")):
        evaluation = sensed.evaluate_sensor()
        assert requested(evaluation) == range_tags(day, day, [symbol])
        assert execute(sensed, evaluation).success
    jobs = repair_all(sensed)
    assert set(jobs) == {"calibrate_detectors", "score_days"}, "older prices arrived: the present day knows them too"
    assert history_requests(sensed) == 2, "scores are computed from what is stored"
    days = [(hole + n * DAY, symbol) for n in range(4) for symbol in sensed.symbols]
    assert outdated_days(PartitionEvents(sensed.instance), sensed.database, days, sensed.symbols, utc_now()) == []
    assert missing(sensed) == []


def test_prices_without_events_are_recorded_and_scored(sensed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run was killed between the two. Nothing is missing then, so that no request would ever record them.

    Of many, each evaluation records a part.
    """
    repair_all(sensed)
    sensed.simulator.clear_requests()
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(sensed.settings, instance, sensed.simulator)
        with monkeypatch.context() as patched:
            patched.setattr(repair_sensor, "_MOST_REPORTS", 5)
            evaluation = world.evaluate_sensor()
            assert not evaluation.run_requests and not evaluation.cursor
            assert "the next ones record the rest" in evaluation.skip_message
            assert len(world.materialized("raw_prices")) == 5
        assert "score_days" in repair_all(world)
        assert world.materialized("raw_prices") == sensed.materialized("raw_prices")
        assert world.materialized("price_anomalies") == sensed.materialized("price_anomalies")
        day = last_settled_day(utc_now()) - DAY
        assert world.latest_metadata("raw_prices", day, "BTC") == {"dagster/row_count": 24}
        world.database.dispose()
    assert history_requests(sensed) == 0


def test_a_repair_before_the_scored_span_outdates_only_the_scores_that_depend_on_it(sensed: World) -> None:
    """Days beyond the last 90 are scored once: those that former detectors scored stay as they are."""
    instance, day = sensed.instance, sensed.days_ago(200)

    def report(asset: str, days_later: int, version: str = "") -> None:
        tags = {"dagster/data_version": f"{version} {utc_now().isoformat()} run"} if version else {}
        key = partition_key(day + days_later * DAY, "BTC")
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key, tags=tags))

    versions = {-1: DETECTOR_VERSION, 0: DETECTOR_VERSION, 3: "old", 5: "", 8: DETECTOR_VERSION, 9: DETECTOR_VERSION}
    for days_later, version in versions.items():
        report("raw_prices", days_later)
        if version:
            report("price_anomalies", days_later, version)
    older = [(day + n * DAY, "BTC") for n in range(-1, 10)]

    def outdated() -> list[int]:
        found = outdated_days(PartitionEvents(instance), sensed.database, [], sensed.symbols, utc_now(), older)
        return [(one - day).days for one, _ in found]

    assert outdated() == [5]
    report("raw_prices", 0)
    assert outdated() == [0, 5, 8]


def test_days_that_a_person_fills_from_the_ui_are_scored_and_barred_at_once(
    sensed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without another click, and not only with the next hourly check."""
    repair_all(sensed)
    cursor = sensed.evaluate_sensor().cursor
    executed(sensed.instance, ASSET_JOB, tags={INSTALLATION: "of others"})
    assert "no run has ended since" in sensed.evaluate_sensor(cursor).skip_message
    # It may have stored prices before.
    executed(sensed.instance, ASSET_JOB, dg.DagsterExecutionInterruptedError())
    assert "Nothing was missing" in sensed.evaluate_sensor(cursor).skip_message
    day = last_settled_day(utc_now())
    every_asset = sensed.defs.resolve_implicit_global_asset_job_def()
    only = every_asset.get_subset(asset_selection={dg.AssetKey("raw_prices")}, asset_check_selection=set())
    assert only.execute_in_process(instance=sensed.instance, tags=range_tags(day, day, sensed.symbols)).success
    evaluation = sensed.evaluate_sensor(cursor)
    (request,) = evaluation.run_requests
    assert request.job_name == "score_days" and request.tags[RANGE_START] == str(partition_key(day, "BTC"))
    assert execute(sensed, evaluation).success
    assert not sensed.evaluate_sensor(cursor).run_requests
    # Scored by hand: which quotes are bad ticks may have changed.
    only = every_asset.get_subset(asset_selection={dg.AssetKey("price_anomalies")}, asset_check_selection=set())
    assert only.execute_in_process(instance=sensed.instance, tags=range_tags(day, day, sensed.symbols)).success
    (request,) = sensed.evaluate_sensor().run_requests
    assert request.job_name == "score_days" and request.asset_selection == [dg.AssetKey("daily_bars")]
    # Of an installation from before there were bars.
    sensed.instance.wipe_assets([dg.AssetKey("daily_bars")])
    evaluation = sensed.evaluate_sensor()
    (request,) = evaluation.run_requests
    assert request.job_name == "score_days" and request.asset_selection == [dg.AssetKey("daily_bars")]
    assert sensed.tick().success
    sensed.evaluate_sensor()
    assert not sensed.materialized("daily_bars"), "today's would make them fresh while none is written"
    assert execute(sensed, evaluation).success
    today = sensed.days_ago(0)
    keys = [str(partition_key(today, symbol)) for symbol in sensed.symbols]
    # The UI counts no day as missing that cannot have a bar yet. Of many symbols each evaluation reports a part.
    monkeypatch.setattr(repair_sensor, "_MOST_REPORTS", 1)
    sensed.evaluate_sensor()
    assert len(latest_storage_ids(sensed.instance, "daily_bars", keys)) == 1
    for most, all_are in ((0, False), (1, True)):
        assert record_open_day(PartitionEvents(sensed.instance, most), today, sensed.symbols) == all_are
    assert sensed.latest_metadata("daily_bars", today, "BTC") == {"dagster/row_count": 0}
    reported = latest_storage_ids(sensed.instance, "daily_bars", keys)
    sensed.evaluate_sensor()
    assert len(reported) == 2 and latest_storage_ids(sensed.instance, "daily_bars", keys) == reported, "once"


def test_a_complete_day_that_a_run_failed_to_renew_is_shown_as_complete(
    sensed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But neither yesterday before it is known to be complete, nor a day without prices."""
    repair_all(sensed)
    assert sensed.tick().success
    # What it brought of yesterday's morning.
    repair_all(sensed)
    before, day, today = (sensed.days_ago(days) for days in (4, 2, 0))
    sensed.simulator.add_fault(Fault(kind="status", status=403, times=None))
    only = sensed.defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection={dg.AssetKey("raw_prices"), dg.AssetKey("rejected_prices")}, asset_check_selection=set()
    )

    def failed() -> list[str]:
        unfulfilled = PartitionEvents(sensed.instance).unfulfilled("raw_prices")
        return [str(partition_key(one, "BTC")) for one in (before, day, today) if (one, "BTC") in unfulfilled]

    forget(sensed, "BTC", before)
    assert failed() == []
    for one in (before, day, today):
        tags = range_tags(one, one, sensed.symbols)
        assert not only.execute_in_process(instance=sensed.instance, tags=tags, raise_on_error=False).success
    assert record_complete_days(PartitionEvents(sensed.instance), sensed.database, [(before, "BTC")])
    assert len(failed()) == 3
    with time_machine.travel(start_of_day(today + DAY) + timedelta(minutes=30), tick=False):
        tick = sensed.defs.resolve_job_def("tick")
        run = sensed.instance.create_run_for_job(tick, status=dg.DagsterRunStatus.STARTED)
        sensed.evaluate_sensor()
        assert len(failed()) == 3, "the run may still do it"
        sensed.instance.delete_run(run.run_id)
        sensed.evaluate_sensor()
    assert failed() == [str(partition_key(one, "BTC")) for one in (before, today)]
    assert sensed.latest_metadata("raw_prices", day, "BTC")["dagster/row_count"] > 0
    days = [(day, symbol) for symbol in sensed.symbols]

    def outdated() -> list[DayOfSymbol]:
        events = PartitionEvents(sensed.instance)
        assert events.materialized("raw_prices")[days[0]] > events.materialized("daily_bars")[days[0]]
        scores = outdated_days(events, sensed.database, days, sensed.symbols, utc_now())
        assert unbarred_days(events, days) == scores[:1]
        return scores

    assert outdated() == [], "reported again, without a price that changed"
    coin = sensed.settings.catalogue.coin("BTC")
    at, later = start_of_day(day) + timedelta(minutes=90), start_of_day(today + 2 * DAY)
    store(sensed.database, raw_prices, price_row(timestamp=at, coin_id=coin.coin_id, ingested_at=later))
    tags = range_tags(day, day, sensed.symbols)
    assert not only.execute_in_process(instance=sensed.instance, tags=tags, raise_on_error=False).success
    with monkeypatch.context() as patch:
        # As for more partitions than the 10,000 of which Dagster reads events at once.
        patch.setenv("MAX_LIMIT_GET_EVENT_RECORDS", "1")
        assert not record_complete_days(PartitionEvents(sensed.instance, 1), sensed.database, days)
    events = PartitionEvents(sensed.instance)
    assert record_complete_days(events, sensed.database, days)
    assert not events.unfulfilled("raw_prices").intersection(days), "what it reported is read again"
    assert outdated() == days


def test_a_new_installation_gets_every_asset_when_its_history_is_there(sensed: World) -> None:
    repair_all(sensed)
    sensed.instance.wipe_assets([dg.AssetKey("request_ledger"), dg.AssetKey("storage_retention")])
    for job, asset in (("account_requests", "request_ledger"), ("retention", "storage_retention")):
        (request,) = sensed.evaluate_sensor(is_new=True).run_requests
        assert (request.job_name, request.run_key) == (job, f"first {asset}")
        failed = dg.DagsterRunStatus.FAILURE
        sensed.instance.create_run_for_job(sensed.defs.resolve_job_def(job), status=failed)
    evaluation = sensed.evaluate_sensor(is_new=True)
    assert not evaluation.run_requests and evaluation.cursor, "a first run that fails is not requested for ever"


def test_a_source_that_fails_is_tried_again_an_hour_later_or_with_the_end_of_an_outage(sensed: World) -> None:
    """Also on a first start; an hour is waited only where the ticks show that the source answers."""
    # `dagster dev` was stopped.
    executed(sensed.instance, COMPLETE_DAYS, dg.DagsterExecutionInterruptedError())
    sensed.simulator.add_fault(Fault(kind="status", status=403, times=None))
    assert not execute(sensed, sensed.evaluate_sensor()).success
    assert not sensed.tick().success
    assert "of complete_days failed at" in sensed.evaluate_sensor().skip_message
    sensed.simulator.clear_faults()
    assert sensed.tick().success
    again = sensed.evaluate_sensor()
    assert again.run_requests[0].job_name == "complete_days"
    sensed.simulator.add_fault(Fault(kind="status", status=400, code=10012, times=None, path="/coins/ethereum"))
    assert not execute(sensed, again).success
    assert sensed.tick().success
    for job in ("calibrate_detectors", "score_days"):
        meanwhile = sensed.evaluate_sensor()
        assert meanwhile.run_requests[0].job_name == job, "what came of the others has no anomalies yet"
        assert execute(sensed, meanwhile).success
    assert "The next try is at" in sensed.evaluate_sensor().skip_message
    assert {symbol for _, symbol in missing(sensed)} == {"ETH"}


def test_a_day_that_the_source_publishes_late_is_complete_the_next_day_without_a_person(
    world_of: WorldOf, sqlite_database: Database
) -> None:
    """Requested at 02:10, at 05:10 and a day later; in between no evaluation requests anything."""
    today = start_of_day(utc_now().date())
    yesterday = today.date() - DAY
    world = world_of(sqlite_database, history_start=yesterday, market_symbols="BTC")
    world.simulator.add_fault(Fault(kind="no_points", times=2))
    for hours, again in ((2.2, "05:12"), (5.3, "05:18")):
        with time_machine.travel(today + timedelta(hours=hours)):
            assert execute(world, world.evaluate_sensor()).success
            evaluation = world.evaluate_sensor()
            assert not evaluation.run_requests and f"{again} UTC" in evaluation.skip_message
            assert missing(world) == [(yesterday, "BTC")]
    with time_machine.travel(today + timedelta(hours=29.2)):
        assert requested(world.evaluate_sensor()) == range_tags(today.date(), today.date(), ["BTC"])
    with time_machine.travel(today + timedelta(hours=29.4)):
        assert requested(world.evaluate_sensor()) == range_tags(yesterday, today.date(), ["BTC"])
        repair_all(world)
        assert missing(world) == []
    assert history_requests(world) == 3


def test_an_older_day_that_the_source_may_have_by_now_is_requested_too(
    world_of: WorldOf, sqlite_database: Database
) -> None:
    """Other days with gaps from before the last thirty are left to `market-pipeline backfill`."""
    world, settled = world_of(sqlite_database, market_symbols="BTC"), last_settled_day(utc_now())
    coin, old, first = world.settings.catalogue.coin("BTC"), settled - 35 * DAY, world.settings.history_start
    hours = [start_of_day(first) + timedelta(hours=hour) for hour in range(((settled - first).days + 1) * 24)]
    gap = start_of_day(settled - 31 * DAY)
    missing = [at for at in hours if at.date() in (old, old - DAY) or gap < at < gap + timedelta(hours=9)]
    rows = [price_row(timestamp=at, coin_id=coin.coin_id) for at in hours if at not in missing]
    store(world.database, raw_prices, *rows)
    for day, hours_ago in ((old, 4), (old - DAY, 2)):
        span = Interval(start_of_day(day), start_of_day(day + DAY))
        absence = Absence("BTC", coin.coin_id, span, "-", utc_now() - timedelta(hours=hours_ago))
        record_absences(world.database, [(coin, span)], [absence], [])
    assert requested(world.evaluate_sensor()) == range_tags(old, old, ["BTC"]), "three hours after the first answer"


@pytest.mark.parametrize("job", ["complete_days", "score_days"])
def test_a_run_under_way_is_waited_for(sensed: World, job: str) -> None:
    run = sensed.begin(job)
    evaluation = sensed.evaluate_sensor()
    assert not evaluation.run_requests
    assert evaluation.skip_message.startswith(f"Run {run.run_id[:8]} of {job} is started")


def test_a_database_without_tables_is_reported_with_the_remedy(world_of: WorldOf, tmp_path: Path) -> None:
    world = world_of(Database(make_url(f"sqlite:///{tmp_path / 'empty.db'}")))
    assert "`market-pipeline migrate` only creates" in world.evaluate_sensor().skip_message
    assert "`market-pipeline migrate` only creates" in world.evaluate_schedule("calibration_schedule").skip_message


def test_yesterday_is_scored_again_when_a_day_begins_when_its_morning_is_over_and_if_its_prices_come_later(
    world_of: WorldOf, sqlite_database: Database
) -> None:
    """Without a request, and in between not at all."""
    today = start_of_day(utc_now().date())
    day = today.date() - DAY
    # Its ticks fill no holes.
    world = world_of(sqlite_database, history_start=day, market_symbols="BTC,ETH", collect_cron="0 0 * * *")

    def automatic(after_midnight: timedelta) -> list[tuple[str, str]]:
        """The jobs that the sensor starts at this time, each with its first partition."""
        started: list[tuple[str, str]] = []
        with time_machine.travel(today + after_midnight):
            while (evaluation := world.evaluate_sensor()).run_requests and len(started) < 9:
                (request,) = evaluation.run_requests
                started.append((request.job_name, request.tags.get(RANGE_START, "")))
                assert execute(world, evaluation).success
        return started

    def run(job: str, after_midnight: timedelta) -> None:
        with time_machine.travel(today + after_midnight):
            now = utc_now().date() - (DAY if job == "complete_days" else timedelta(0))
            assert world.run(job, now, now).success

    minute, look = timedelta(minutes=1), [("score_days", f"{day}|BTC")]
    documents = dict.fromkeys(world.symbols, Calibration(today, (1.0,) * 24).to_json())
    save_calibrations(world.database, today, DETECTOR_VERSION, documents, today - 9 * minute)
    run("tick", -5 * minute)
    assert automatic(2 * minute) == [], "the day has begun without a price"
    run("tick", 5 * minute)
    assert automatic(6 * minute) == look
    run("complete_days", 45 * minute)
    assert automatic(46 * minute) == []
    run("tick", 250 * minute)
    assert automatic(254 * minute) == []
    assert automatic(256 * minute) == look
    run("tick", 600 * minute)
    assert automatic(601 * minute) == []
    assert automatic(DAY + 2 * minute) == [], "the prices after the morning changed nothing"
    run("complete_days", DAY + 45 * minute)
    assert automatic(DAY + 46 * minute) == look
    assert automatic(DAY + 47 * minute) == []
