"""The whole report: nothing raises, nothing waits for ever, no secret passes, columns are aligned.

The sentences of three reports are in `sentences.txt`. After a change of wording run with UPDATE_SENTENCES=1 and read
the difference.
"""

import json
import os
import re
import tempfile
import threading
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus

from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.home import open_instance
from market_pipeline.doctor.context import Diagnosis, DoctorContext, NotExamined, fail, not_examined, ok, warn
from market_pipeline.doctor.report import Group, Report, RunningGroup, as_json, as_text, examine, make_report, masked
from market_pipeline.settings import load_settings
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.scores import record_scored
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import price_row, refusal_row, store
from market_pipeline_tests.dagster_records import LOST, beat, ended, evaluated, state_of

FILE = Path(__file__).parent / "sentences.txt"
# What differs from run to run.
VARIABLE = (
    # Set by whatever opened a Dagster instance in this process before.
    (r"DAGSTER_EVENT_BATCH_SIZE, ", ""),
    (r"127\.0\.0\.1:\d+", "HOST"), (r"revision \d+", "revision N"),
    # Times of yesterday have their day.
    (r"(\d{4}-\d\d-\d\d )?\d\d:\d\d UTC", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DATE"), (r"\d+ ms\b", "N ms"),
    (r"[\d.]+ s (ahead of|behind)", "N s ahead of"), (r"\b[\d.]+ s\b", "N s"), (r"[\d.,]+ (GB|MB)", r"N \1"),
    (r"\d[\d,]+ requests", "N requests"), (r"its days \d+", "its days N"), (r"Run \w{8}", "Run ID"),
    (r"\d+ daemons", "N daemons"), (r"(last reports: \w+ 10 min ago).*", r"\1, ..."),
)
MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
REPORT = Report(NOON, [
    ok("settings", "plan keyless"),
    warn("database", "prices.db does not exist yet", "`market-pipeline run` creates it."),
    fail("api", "word " * 40, "do " * 40, latency_ms=3.5),
])


@pytest.fixture
def context(tmp_path: Path) -> DoctorContext:
    return DoctorContext(tmp_path, {})


@pytest.fixture
def stored(
    sqlite_database: Database, home: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Database:
    """The database of an installation in which all is well: settings, prices and Dagster."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    for name, value in {
        "COINGECKO_BASE_URL": simulator.base_url, "MARKET_SYMBOLS": "BTC,ETH", "HISTORY_START": str(utc_now().date()),
    }.items():
        monkeypatch.setenv(name, value)
    database = Database(sqlite_database.url, load_settings(None).catalogue.ids)
    at = utc_now() - MINUTE
    for symbol in ("BTC", "ETH"):
        store_price(database, symbol, at)
        record_scored(database, {symbol: at})
    with open_instance(home) as instance:
        beat(instance, MINUTE)
        for name in ("calibration_schedule", "ledger_schedule", "retention_schedule"):
            evaluated(instance, state_of(instance, name), MINUTE)
        ended(instance, dg.DagsterRunStatus.SUCCESS)
    return database


def store_price(database: Database, symbol: str, at: datetime) -> None:
    row = price_row(symbol, timestamp=at, ingested_at=at, coin_id=database.coin_id(symbol))
    store(database, tables.raw_prices, row)


def break_everything(folder: Path, database: Database, simulator: Simulator, home: Path) -> None:
    (folder / ".env").write_text("COLECT_CRON=* * * * *\n")
    simulator.add_fault(Fault(kind="status", status=503, times=None))
    with database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM raw_prices WHERE symbol = 'ETH'")
        connection.exec_driver_sql("UPDATE scored_through SET timestamp = timestamp - 3600000000")
    now = utc_now()
    store_price(database, "BTC", now - 40 * MINUTE)
    store(database, tables.rejected_prices, refusal_row(1, refused_at=now - MINUTE))
    with open_instance(home) as instance:
        beat(instance, 10 * MINUTE)
        state_of(instance, "completion_schedule", InstigatorStatus.STOPPED)
        evaluated(instance, state_of(instance, "tick_schedule"), MINUTE / 2, TickStatus.FAILURE, LOST)
        ended(instance, dg.DagsterRunStatus.FAILURE, "complete_days")


def test_each_diagnosis_has_its_sentences(
    tmp_path: Path, stored: Database, simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new folder; an installation in which all is well; and the same when everything is broken."""
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    found = {"new": make_report(tmp_path / "new", {})}
    monkeypatch.chdir(tmp_path)
    found["well"] = make_report(tmp_path, dict(os.environ))
    break_everything(tmp_path, stored, simulator, home)
    found["broken"] = make_report(tmp_path, dict(os.environ))
    text = "\n".join(f"{name}:\n" + as_text(report, 1000, coloured=False) for name, report in found.items())
    text = text.replace(str(tmp_path), "FOLDER")
    for pattern, name in VARIABLE:
        text = re.sub(pattern, name, text)
    if os.environ.get("UPDATE_SENTENCES"):
        FILE.write_text(text)
    assert text == FILE.read_text()
    assert [report.status for report in found.values()] == ["warn", "ok", "fail"]


def broken(context: DoctorContext) -> Iterable[Diagnosis]:
    yield ok("before", "fine")
    raise OSError("the disk is gone\nand more")


def test_an_examination_that_raises_is_a_diagnosis_and_the_next_is_made(context: DoctorContext) -> None:
    group = Group(30.0, "It", [("first", broken), ("second", lambda context: [ok("second", "fine")])])
    before, first, second = RunningGroup(group, context).result()
    assert first.status == "fail" and first.detail == "this could not be examined: OSError: the disk is gone"
    assert before.status == second.status == "ok"


def test_what_depends_on_another_examination_names_the_first_cause(context: DoctorContext) -> None:
    def depends_on(cause: str) -> Iterable[Diagnosis]:
        raise NotExamined(cause)

    examine("database", lambda context: depends_on("settings"), context)
    (diagnosis,) = examine("gaps", lambda context: depends_on("database"), context)
    assert (diagnosis.status, diagnosis.because_of) == ("warn", "settings")


def test_an_examination_that_hangs_is_a_diagnosis_and_so_are_those_after_it(context: DoctorContext) -> None:
    release = threading.Event()
    group = Group(0.2, "The server", [
        ("first", lambda context: [ok("first", "fine")]),
        ("second", lambda context: release.wait(60) and []),  # type: ignore[list-item, return-value]  # hangs
        ("third", lambda context: []),
    ])
    first, second, third = RunningGroup(group, context).result()
    release.set()
    assert (first.status, second.status, third.because_of) == ("ok", "fail", "second")
    assert second.remedy.startswith("The server does not answer")


def test_the_text_is_aligned_and_keeps_its_width() -> None:
    lines = as_text(REPORT, width=80, coloured=False).splitlines()
    assert lines[:3] == [
        "ok    settings  plan keyless",
        "warn  database  prices.db does not exist yet",
        "                -> `market-pipeline run` creates it.",
    ]
    assert lines[3].startswith("fail  api       word word")
    assert max(len(line) for line in lines) <= 80
    assert lines[-1] == "1 fail, 1 warn, 1 ok"
    coloured = as_text(REPORT, 80, True)
    for code in ("\033[31m", "\033[32m", "\033[33m", "\033[0m"):
        assert code in coloured
        coloured = coloured.replace(code, "")
    assert coloured.splitlines() == lines, "colours are only around the status"


def test_what_was_not_examined_is_one_line_for_each_cause() -> None:
    found = [not_examined("gaps", "database"), ok("disk", "fine"), not_examined("budget", "database")]
    assert as_text(Report(NOON, [*found, not_examined("clock", "api")]), 80, False).splitlines() == [
        "ok    disk          fine",
        "warn  not examined  because of 'database': gaps, budget",
        "warn  not examined  because of 'api': clock",
        "",
        "3 not examined, 1 ok",
    ]


def test_the_document_holds_everything() -> None:
    document = json.loads(as_json(REPORT))
    assert (document["status"], document["examined_at"]) == ("fail", "2026-05-01T12:00:00Z")
    assert [finding["status"] for finding in document["findings"]] == ["ok", "warn", "fail"]
    assert document["findings"][2]["numbers"] == {"latency_ms": 3.5}
    assert document["findings"][1]["remedy"] == "`market-pipeline run` creates it."
    assert Report(NOON, []).status == "ok" and Report(NOON, REPORT.diagnoses[:2]).status == "warn"


@pytest.mark.parametrize("text", [
    "driver error: password canary1", "postgresql://user:canary2@host/db is down", "key CG-canary3abc is unknown",
])
def test_secrets_are_masked_wherever_they_are(text: str) -> None:
    diagnosis = masked(Diagnosis("x", "fail", text, text, {"what": text, "count": 3}), ["canary1", ""])
    assert "canary" not in str(diagnosis)
    assert diagnosis.numbers["count"] == 3 and "[hidden]" in diagnosis.detail
