"""The calibration: made once a day for the days that follow, and used by those alone."""

from datetime import datetime, time, timedelta, timezone

import dagster as dg
import pytest
import time_machine
from sqlalchemy import select

from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.defs.automation.calibration_schedule import completed_on, waiting_for
from market_pipeline.pipeline.calibrate import next_as_of
from market_pipeline.storage.queries.calibrations import calibrations_for, save_calibrations, stored_documents
from market_pipeline.storage.schema import tables

NOON = datetime(2026, 5, 20, 12, tzinfo=timezone.utc)


@pytest.fixture
def short(world_of, sqlite_database):
    """A world of two coins with a few days of history."""
    start = (utc_now() - timedelta(days=4)).date().isoformat()
    return world_of(sqlite_database, HISTORY_START=start, MARKET_SYMBOLS="BTC,ETH")


def calibrate(world):
    job = world.defs.resolve_job_def("calibrate_detectors")
    return job.execute_in_process(instance=world.instance, raise_on_error=False)


def stored(world):
    with world.database.reading() as connection:
        table = tables.detector_calibrations
        return connection.execute(select(table).order_by(*table.primary_key)).all()


def look(world):
    """One evaluation of the schedule by the daemon."""
    schedule = world.defs.resolve_schedule_def("calibration_schedule")
    with dg.build_schedule_context(world.instance, scheduled_execution_time=utc_now()) as context:
        return schedule.evaluate_tick(context)


def repair(world, cursor=None):
    """One evaluation of the sensor that has days scored again."""
    with dg.build_sensor_context(instance=world.instance, cursor=cursor) as context:
        return world.defs.resolve_sensor_def("repair_sensor").evaluate_tick(context)


def test_a_calibration_is_as_of_the_coming_midnight():
    assert next_as_of(NOON) == datetime(2026, 5, 21, tzinfo=timezone.utc)
    assert next_as_of(start_of_day(NOON.date())) == datetime(2026, 5, 21, tzinfo=timezone.utc)


def test_it_is_made_from_all_symbols_and_shown(short):
    assert short.complete(short.days_ago(3), short.days_ago(1)).success
    assert calibrate(short).success
    rows = stored(short)
    tomorrow = start_of_day(short.days_ago(-1))
    assert [(row.symbol, row.coin_id) for row in rows] == list(short.settings.catalogue.ids.items())
    for row in rows:
        calibration = Calibration.from_json(row.document)
        assert row.as_of == calibration.as_of == tomorrow
        assert row.detector_version == calibration.detector_version == DETECTOR_VERSION
        assert set(calibration.coins) == {row.symbol}
    shown = short.latest_metadata("detector_calibration")
    assert shown["stored"] is True and shown["as_of"] == tomorrow.timestamp()
    assert shown["quotes_BTC"] == sum(price["symbol"] == "BTC" for price in short.prices())
    assert len(shown["hour_factors"].records) == 24
    assert [record.data["symbol"] for record in shown["coins"].records] == ["BTC", "ETH"]
    assert "Tails: the prior for BTC, ETH" in shown["summary"]


def test_making_it_again_keeps_what_is_stored_and_says_so(short):
    short.tick()
    calibrate(short)
    before = stored(short)
    short.insert(symbol="BTC", timestamp=utc_now() - timedelta(hours=5), price=1.0)
    assert calibrate(short).success
    assert stored(short) == before
    shown = short.latest_metadata("detector_calibration")
    assert shown["stored"] is False and shown["summary"].startswith("Kept as it was stored before")


def test_a_second_installation_on_the_same_database_is_calibrated_too(short, world_of):
    """It has other symbols; what the first stored is not its own."""
    assert short.complete(short.days_ago(3), short.days_ago(1)).success
    assert calibrate(short).success
    start = short.settings.history_start.isoformat()
    other = world_of(short.database, HISTORY_START=start, MARKET_SYMBOLS="ETH,SOL,ADA")
    assert other.complete(other.days_ago(3), other.days_ago(1), ["SOL"]).success
    assert look(other).run_requests or "partitions lack prices" in look(other).skip_message
    assert calibrate(other).success
    said = other.latest_metadata("detector_calibration")["summary"]
    assert said.startswith("Stored for SOL; kept as stored before for ETH.")
    assert said.endswith("Nothing was stored for ADA: no quotes of the last 90 days.")
    assert [row.symbol for row in stored(other)] == ["BTC", "ETH", "SOL"]


def test_without_a_quote_nothing_is_stored_and_that_is_said(short):
    assert calibrate(short).success
    assert stored(short) == []
    said = short.latest_metadata("detector_calibration")["summary"]
    assert "Nothing was stored: there are no quotes" in said


@pytest.mark.slow
def test_the_rows_of_today_do_not_change_when_it_comes_and_those_of_tomorrow_use_it(short):
    """A day is scored with what was known when it began."""
    assert short.complete(short.days_ago(3), short.days_ago(1)).success
    short.insert(symbol="BTC", timestamp=start_of_day(short.today) + timedelta(microseconds=1), price=1.0)
    short.tick()
    before = short.rows(tables.price_anomalies)
    assert any(row["timestamp"].date() == short.today for row in before)
    calibrate(short)
    short.tick()
    found = short.rows(tables.price_anomalies)
    assert [row for row in found if row in before] == before
    tomorrow = datetime.combine(short.today + timedelta(days=1), time(0, 30), tzinfo=timezone.utc)
    with time_machine.travel(tomorrow, tick=False):
        short.insert(symbol="BTC", timestamp=tomorrow - timedelta(minutes=5), price=70_000.0)
        assert short.run("score_days", tomorrow.date(), tomorrow.date()).success
    begins = start_of_day(tomorrow.date())
    later = [row for row in short.rows(tables.price_anomalies) if row["timestamp"] >= begins]
    assert later and {row["calibrated_at"] for row in later} == {begins}
    assert {row["calibrated_at"] for row in before} == {None}


@pytest.mark.slow
def test_the_days_of_a_range_are_scored_each_with_its_own_calibration(short):
    assert short.complete(short.days_ago(3), short.days_ago(1)).success
    for ago, factor in ((2, 0.5), (1, 2.0)):
        as_of = start_of_day(short.days_ago(ago))
        document = Calibration(as_of, hours=(factor,) * 24).to_json()
        save_calibrations(short.database, as_of, DETECTOR_VERSION, dict.fromkeys(short.symbols, document), utc_now())
    for ago in (3, 2, 1):
        noon = start_of_day(short.days_ago(ago)) + timedelta(hours=12, minutes=1)
        short.insert(symbol="ETH", timestamp=noon, price=1.0)
    assert short.run("score_days", short.days_ago(3), short.days_ago(1)).success
    in_range = short.rows(tables.price_anomalies)
    used = {(row["timestamp"].date(), row["calibrated_at"]) for row in in_range if row["symbol"] == "ETH"}
    assert used == {
        (short.days_ago(3), None),
        (short.days_ago(2), start_of_day(short.days_ago(2))),
        (short.days_ago(1), start_of_day(short.days_ago(1))),
    }
    for ago in (1, 3, 2):
        assert short.run("score_days", short.days_ago(ago), short.days_ago(ago), ["ETH"]).success
    assert short.rows(tables.price_anomalies) == in_range


@pytest.mark.slow
def test_a_first_start_waits_for_the_history_and_then_calibrates(short):
    short.tick()
    assert "partitions lack prices that may still come" in look(short).skip_message
    run = short.instance.create_run_for_job(
        short.defs.resolve_job_def("complete_days"), status=dg.DagsterRunStatus.STARTED
    )
    assert f"Run {run.run_id[:8]} of complete_days is started" in look(short).skip_message
    short.instance.report_run_failed(run)
    assert short.complete(short.settings.history_start, short.days_ago(1)).success
    assert look(short).run_requests
    assert calibrate(short).success
    tomorrow = short.days_ago(-1)
    assert look(short).skip_message == f"The calibration for the days from {tomorrow} on is stored."
    assert set(stored_documents(short.database, start_of_day(tomorrow), DETECTOR_VERSION)) == set(short.symbols)


@pytest.mark.slow
def test_what_the_source_does_not_give_is_not_waited_for_all_day(short):
    missing = [(short.days_ago(2), "BTC")]
    assert waiting_for(missing, completed=False)
    assert waiting_for(missing, completed=True) is None
    assert waiting_for([], completed=False) is None
    owner = owner_of(short.settings)
    assert not completed_on(short.today, short.instance, owner)
    assert short.complete(short.days_ago(1), short.days_ago(1)).success
    assert completed_on(short.today, short.instance, owner)
    assert not completed_on(short.today + timedelta(days=1), short.instance, owner)


def test_a_database_without_tables_is_told_with_the_remedy(world_of, tmp_path):
    from sqlalchemy.engine import make_url

    from market_pipeline.storage.engine import Database

    world = world_of(Database(make_url(f"sqlite:///{tmp_path / 'empty.db'}")))
    assert "run `market-pipeline migrate`" in look(world).skip_message


@pytest.mark.slow
def test_after_a_change_of_the_detectors_the_last_days_are_calibrated_again_before_they_are_scored(
    short, monkeypatch
):
    """Otherwise they would be scored again as if nothing had been known then."""
    assert short.complete(short.settings.history_start, short.days_ago(1)).success
    of_yesterday = start_of_day(short.days_ago(1))
    document = Calibration(of_yesterday, (1.0,) * 24).to_json()
    save_calibrations(short.database, of_yesterday, DETECTOR_VERSION, dict.fromkeys(short.symbols, document), NOON)
    assert calibrate(short).success
    for module in (
        "defs.automation.calibration_schedule", "pipeline.calibrate", "defs.automation.repair_sensor",
        "defs.assets.price_anomalies", "pipeline.score",
    ):
        monkeypatch.setattr(f"market_pipeline.{module}.DETECTOR_VERSION", "next")
    waiting = repair(short)
    assert "the scores of earlier detectors are computed again" in waiting.skip_message
    assert look(short).run_requests
    assert calibrate(short).success
    made = [(row.as_of, row.symbol) for row in stored(short) if row.detector_version == "next"]
    times = of_yesterday, start_of_day(short.days_ago(-1))
    assert made == [(as_of, symbol) for as_of in times for symbol in short.symbols]
    found = calibrations_for(short.database, [of_yesterday.date()], "next")[of_yesterday.date()]
    before = [price for price in short.prices() if price["timestamp"] < of_yesterday]
    assert sum(coin.quotes for coin in found.coins.values()) == len(before)
    assert "is stored" in look(short).skip_message
    (request,) = repair(short, waiting.cursor).run_requests
    assert request.job_name == "score_days"
