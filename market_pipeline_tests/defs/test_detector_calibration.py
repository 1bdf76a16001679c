"""The calibration: made once a day for the days that follow, and used by those alone."""

from datetime import datetime, time, timedelta, timezone
from typing import Any

import pytest
import time_machine
from sqlalchemy import delete

from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.marks import Mark
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.defs.automation.calibration_schedule import completed_on, waiting_for
from market_pipeline.pipeline.calibrate import due_calibrations, next_as_of
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.anomaly_marks import save_mark
from market_pipeline.storage.queries.calibrations import calibrations_for, save_calibrations, stored_documents
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import anomaly_row, price_row, store
from market_pipeline_tests.defs.world import World, WorldOf

NOON = datetime(2026, 5, 20, 12, tzinfo=timezone.utc)


def calibrate(world: World) -> dict[str, Any]:
    """The metadata after a run of the calibration."""
    assert world.execute("calibrate_detectors").success
    return world.latest_metadata("detector_calibration")


def stored(world: World) -> list[dict[str, Any]]:
    return world.rows(tables.detector_calibrations)


def test_a_calibration_is_as_of_the_coming_midnight() -> None:
    assert next_as_of(NOON) == datetime(2026, 5, 21, tzinfo=timezone.utc)
    assert next_as_of(start_of_day(NOON.date())) == datetime(2026, 5, 21, tzinfo=timezone.utc)


def test_without_a_quote_nothing_is_stored_and_the_asset_shows_that(pair: World) -> None:
    assert calibrate(pair)["stored"] is False
    assert stored(pair) == []


def test_it_is_made_once_from_all_symbols_and_never_changed(pair: World, world_of: WorldOf) -> None:
    assert pair.complete(pair.days_ago(2), pair.days_ago(1)).success
    shown = calibrate(pair)
    today, tomorrow = start_of_day(pair.today), start_of_day(pair.days_ago(-1))
    rows = stored(pair)
    coins = list(pair.settings.catalogue.ids.items())
    assert [(row["as_of"], row["symbol"], row["coin_id"]) for row in rows] == [
        (as_of, *coin) for as_of in (today, tomorrow) for coin in coins
    ], "and that of the present day, which has none"
    for row in rows:
        calibration = Calibration.from_json(row["document"])
        assert row["as_of"] == calibration.as_of
        assert row["detector_version"] == calibration.detector_version == DETECTOR_VERSION
        assert set(calibration.coins) == {row["symbol"]}
    assert shown["stored"] is True and shown["as_of"] == tomorrow.timestamp()
    assert shown["quotes_BTC"] == sum(price["symbol"] == "BTC" for price in pair.prices())
    assert len(shown["hour_factors"].records) == 24
    assert [record.data["symbol"] for record in shown["coins"].records] == ["BTC", "ETH"]
    pair.insert(symbol="BTC", timestamp=utc_now() - timedelta(hours=5), price=1.0)
    assert calibrate(pair)["stored"] is False and stored(pair) == rows
    # A second installation on the same database has other symbols.
    start = pair.settings.history_start
    other = world_of(pair.database, history_start=start, market_symbols="ETH,SOL,ADA")
    assert other.complete(other.days_ago(2), other.days_ago(1), ["SOL"]).success
    assert calibrate(other)["stored"] is True
    assert [row["symbol"] for row in stored(other)] == ["BTC", "ETH", "SOL"] * 2, "there is no quote of ADA"


def test_it_leaves_out_marked_noise_and_counts_the_marks(pair: World) -> None:
    assert pair.complete(pair.days_ago(2), pair.days_ago(1)).success
    quotes = [row for row in pair.prices() if row["symbol"] == "BTC"]
    before, after = quotes[10], quotes[11]
    at = before["timestamp"] + (after["timestamp"] - before["timestamp"]) / 2
    pair.insert(symbol="BTC", timestamp=at, price=2 * before["price"])
    coin, move = {"coin_id": before["coin_id"]}, {"price_before": before["price"], "price_after": 2 * before["price"]}
    marked = anomaly_row("BTC", timestamp=at, kind="bad_tick", **coin, **move)
    others = [anomaly_row("BTC", timestamp=at, kind=kind, **coin) for kind in ("jump", "large_move")]
    store(pair.database, tables.price_anomalies, marked, *others)
    flagged = pair.rows(tables.price_anomalies)
    for row, mark in zip((marked, *others), (Mark.NOISE, Mark.REAL, Mark.EXPECTED), strict=True):
        assert save_mark(pair.database, row["id"], mark, None, utc_now())
    shown = calibrate(pair)
    assert shown["quotes_BTC"] == len(quotes), "all but the print"
    assert [record.data for record in shown["marks"].records] == [
        {"kind": "bad_tick", "real": 0, "noise": 1, "expected": 0, "precision": 0.0},
        {"kind": "jump", "real": 1, "noise": 0, "expected": 0, "precision": 1.0},
        {"kind": "large_move", "real": 0, "noise": 0, "expected": 1, "precision": None},
    ]
    assert pair.rows(tables.price_anomalies) == flagged and len(pair.prices()) > len(quotes)


def test_the_present_day_has_one_of_its_own_and_that_of_the_coming_midnight_changes_none_of_its_rows(
    pair: World,
) -> None:
    """A day is scored with what was known when it began, or could have been."""
    assert pair.complete(pair.days_ago(3), pair.days_ago(1)).success
    pair.insert(symbol="BTC", timestamp=start_of_day(pair.today) + timedelta(microseconds=1), price=1.0)
    calibrate(pair)
    pair.tick()
    before = pair.rows(tables.price_anomalies)
    of_today = [row["calibrated_at"] for row in before if row["timestamp"].date() == pair.today]
    assert of_today and set(of_today) == {start_of_day(pair.today)}
    coming = delete(tables.detector_calibrations).where(tables.detector_calibrations.c.as_of > start_of_day(pair.today))
    with pair.database.writing() as connection:
        connection.execute(coming)
    assert calibrate(pair)["stored"] is True
    pair.tick()
    assert [row for row in pair.rows(tables.price_anomalies) if row in before] == before
    tomorrow = datetime.combine(pair.today + timedelta(days=1), time(0, 30), tzinfo=timezone.utc)
    with time_machine.travel(tomorrow, tick=False):
        pair.insert(symbol="BTC", timestamp=tomorrow - timedelta(minutes=5), price=70_000.0)
        assert pair.run("score_days", tomorrow.date(), tomorrow.date()).success
    begins = start_of_day(tomorrow.date())
    later = [row for row in pair.rows(tables.price_anomalies) if row["timestamp"] >= begins]
    assert later and {row["calibrated_at"] for row in later} == {begins}


def test_the_days_of_a_range_are_scored_each_with_its_own_calibration(pair: World) -> None:
    days = [pair.days_ago(ago) for ago in (3, 2, 1)]
    assert pair.complete(days[0], days[-1]).success
    for day, factor in zip(days[1:], (0.5, 2.0), strict=True):
        document = Calibration(start_of_day(day), hours=(factor,) * 24).to_json()
        documents = dict.fromkeys(pair.symbols, document)
        save_calibrations(pair.database, start_of_day(day), DETECTOR_VERSION, documents, utc_now())
    for day in days:
        pair.insert(symbol="ETH", timestamp=start_of_day(day) + timedelta(hours=12, minutes=1), price=1.0)
    assert pair.run("score_days", days[0], days[-1]).success
    in_range = pair.rows(tables.price_anomalies)
    used = {(row["timestamp"].date(), row["calibrated_at"]) for row in in_range if row["symbol"] == "ETH"}
    assert used == {(days[0], None), *((day, start_of_day(day)) for day in days[1:])}
    for day in (days[2], days[0], days[1]):
        assert pair.run("score_days", day, day, ["ETH"]).success
    assert pair.rows(tables.price_anomalies) == in_range


def test_a_first_start_waits_for_the_history_and_then_calibrates(pair: World) -> None:
    owner = owner_of(pair.settings)
    pair.tick()
    assert "that may still arrive" in pair.evaluate_schedule("calibration_schedule").skip_message
    run = pair.begin("complete_days")
    waiting = pair.evaluate_schedule("calibration_schedule").skip_message
    assert waiting.startswith(f"Run {run.run_id[:8]} of complete_days is started")
    pair.instance.report_run_failed(run)
    assert not completed_on(pair.today, pair.instance, owner)
    assert pair.complete(pair.settings.history_start, pair.days_ago(1)).success
    assert completed_on(pair.today, pair.instance, owner)
    assert not completed_on(pair.days_ago(-1), pair.instance, owner)
    assert pair.evaluate_schedule("calibration_schedule").run_requests
    calibrate(pair)
    tomorrow = pair.days_ago(-1)
    skipped = pair.evaluate_schedule("calibration_schedule").skip_message
    assert skipped == f"The calibration for the days from {tomorrow} on is stored."
    assert set(stored_documents(pair.database, start_of_day(tomorrow), DETECTOR_VERSION)) == set(pair.symbols)


@pytest.mark.parametrize(("missing", "completed", "waits"), [(1, False, True), (1, True, False), (0, False, False)])
def test_what_the_source_does_not_have_is_not_waited_for_all_day(missing: int, completed: bool, waits: bool) -> None:
    assert bool(waiting_for(missing, completed)) is waits


def test_it_is_made_again_when_older_prices_have_arrived_and_of_past_weeks_once_all_have(pair: World) -> None:
    """From the newest days of a first start at once; nothing is scored with it but the present day."""
    today, last = start_of_day(pair.today), pair.days_ago(1)
    assert pair.complete(last, last).success
    due = due_calibrations(pair.database, pair.symbols, utc_now(), missing=True)
    assert due.none_known and due.at_once and set(due.symbols) == {today, today + timedelta(days=1)}
    few = calibrate(pair)["quotes_BTC"]
    assert not due_calibrations(pair.database, pair.symbols, utc_now(), missing=True).symbols
    assert pair.complete(pair.settings.history_start, last).success
    assert due_calibrations(pair.database, pair.symbols, utc_now(), missing=False).at_once
    assert calibrate(pair)["quotes_BTC"] > few
    past = calibrations_for(pair.database, [pair.today], DETECTOR_VERSION)[pair.today]
    assert past.coins["BTC"].quotes == sum(
        price["symbol"] == "BTC" and price["timestamp"] < today for price in pair.prices()
    )
    assert not due_calibrations(pair.database, pair.symbols, utc_now(), missing=False).symbols


@pytest.mark.parametrize(("missing", "hours", "weeks"), [(False, 0, 3), (True, 23, 0), (True, 24, 3)])
def test_one_a_week_is_made_up_for_the_past_days_to_be_scored(
    sqlite_database: Database, missing: bool, hours: int, weeks: int
) -> None:
    """Of Mondays, from prices before them; while prices may still arrive a day at most passes after the first."""
    wednesday = NOON
    of_days = [start_of_day((wednesday - timedelta(days=ago)).date()) for ago in range(1, 20)]
    store(sqlite_database, tables.raw_prices, *(price_row(timestamp=at, ingested_at=at) for at in of_days))
    today = start_of_day(wednesday.date())
    documents = {"BTC": Calibration(today, (1.0,) * 24).to_json()}
    save_calibrations(sqlite_database, today, DETECTOR_VERSION, documents, wednesday - timedelta(hours=hours))
    due = due_calibrations(sqlite_database, ["BTC"], wednesday, missing=missing)
    coming = today + timedelta(days=1)
    mondays = [today - timedelta(days=days) for days in (16, 9, 2)]
    assert list(due.symbols) == [*mondays[3 - weeks :], coming] and due.at_once is (weeks > 0)
    old = price_row(timestamp=today - timedelta(days=120), ingested_at=wednesday)
    store(sqlite_database, tables.raw_prices, old)
    again = due_calibrations(sqlite_database, ["BTC"], wednesday, missing=missing)
    assert (today in again.symbols) is (hours > 0), "the highest scores of days are remembered for long"


def test_after_a_change_of_the_detectors_days_are_calibrated_again_before_they_are_scored(
    pair: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise they would be scored again as if nothing had been known then."""
    assert pair.complete(pair.settings.history_start, pair.days_ago(1)).success
    calibrate(pair)
    for module in (
        "defs.automation.calibration_schedule", "pipeline.calibrate", "defs.automation.repair_sensor",
        "defs.automation.stale_scores", "defs.assets.price_anomalies", "pipeline.score",
    ):
        monkeypatch.setattr(f"market_pipeline.{module}.DETECTOR_VERSION", "next")
    assert pair.evaluate_sensor().run_requests[0].job_name == "calibrate_detectors"
    calibrate(pair)
    made = {row["as_of"] for row in stored(pair) if row["detector_version"] == "next"}
    assert made == {row["as_of"] for row in stored(pair) if row["detector_version"] == DETECTOR_VERSION}
    assert pair.evaluate_sensor().run_requests[0].job_name == "score_days"
