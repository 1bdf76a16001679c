"""The sentences that runs, checks and schedules show to a person.

They are in `sentences.txt`. After a change of wording run with UPDATE_SENTENCES=1 and read the difference.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg

from market_pipeline.anomalies.scores.learning import calibrate_columns
from market_pipeline.budget.ledger import LedgerRow
from market_pipeline.budget.status import BudgetStatus
from market_pipeline.coingecko.errors import CoinGeckoError, SourceDown, TransientError
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.core.symbols import parse_catalogue
from market_pipeline.defs.assets.detector_calibration import calibration_metadata
from market_pipeline.defs.assets.market_overview import overview_lines
from market_pipeline.defs.assets.price_coverage import coverage_metadata
from market_pipeline.defs.assets.raw_prices import collection_failure
from market_pipeline.defs.assets.request_ledger import hour_sentence
from market_pipeline.defs.automation.calibration_schedule import waiting_for
from market_pipeline.defs.automation.repair_decision import PastRun, Situation, next_run
from market_pipeline.defs.automation.schedules import skip_reason
from market_pipeline.defs.checks.history import history_check_names, history_results, one_coin_result
from market_pipeline.defs.checks.raw_prices import CheckedRun, check_run
from market_pipeline.defs.partitions import RANGE_END, RANGE_START, range_tags
from market_pipeline.pipeline.calibrate import CalibrationResult, DueCalibrations
from market_pipeline.pipeline.missing_days import PastDays
from market_pipeline.pipeline.names import FRESH, FUTURE, NEGATIVE, QUOTED, REJECTED
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import Interval
from market_pipeline.prices.quotes import Reason
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import DayCoverage
from market_pipeline.storage.queries.source_gaps import record_absences
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import (
    anomalies_of,
    anomaly_row,
    check_sentences,
    price_row,
    prices_of,
    refusal_row,
    store,
)
from market_pipeline_tests.defs.world import without_constraints

FILE = Path(__file__).with_name("sentences.txt")
NOW = datetime(2026, 5, 20, 12, 3, tzinfo=timezone.utc)
TODAY, HOUR = NOW.date(), timedelta(hours=1)
SYMBOLS = ("BTC", "ETH", "SOL")
COINS = parse_catalogue(",".join(SYMBOLS))
NOT_DUE = DueCalibrations({})


def decisions() -> Iterator[str]:
    """The reasons of the repair sensor and the schedules for starting nothing."""
    missing: list[DayOfSymbol] = [(TODAY - 2 * DAY, symbol) for symbol in SYMBOLS]
    tags = range_tags(TODAY - 2 * DAY, TODAY - 2 * DAY, SYMBOLS)
    free = BudgetStatus(NOW, 5, 5, 0, None, "", None, 0, None, 0, datetime(2026, 6, 1, tzinfo=timezone.utc))
    spent = BudgetStatus(NOW, 5, 5, 0, None, "", 10_000, 9_100, 900, 900, datetime(2026, 6, 1, tzinfo=timezone.utc))

    def past(success: bool, job: str = "complete_days") -> list[PastRun]:
        return [PastRun("0123456789", job, tags[RANGE_START], tags[RANGE_END], success, NOW - timedelta(minutes=5))]

    for situation in (
        Situation(NOW, missing, [], NOT_DUE, past(False), free),
        Situation(NOW, missing, [], NOT_DUE, past(True), free),
        Situation(NOW, missing, [], NOT_DUE, [], spent),
        Situation(NOW, [], missing, NOT_DUE, past(False, "score_days"), free),
    ):
        request: Any = next_run(situation, SYMBOLS)
        yield str(request.skip_message)
    run = dg.DagsterRun("tick", run_id="0123456789", status=dg.DagsterRunStatus.STARTED)
    yield str(skip_reason("tick", [run]))
    yield str(waiting_for(len(missing), completed=False))


def price_checks(database: Database) -> Iterator[str]:
    """The checks of `raw_prices`: all passed, then each with stored rows, refusals or a wrong clock."""

    def results(run_id: str, clock: str = "") -> Iterator[str]:
        days = [(TODAY, symbol) for symbol in SYMBOLS]
        run = CheckedRun(database, run_id, days, SYMBOLS, NOW, NOW - 11 * timedelta(minutes=1), lambda: clock)
        for result in check_run(run, (FUTURE, NEGATIVE, REJECTED, QUOTED, FRESH)):
            yield f"{result.check_name}: {result.description}"

    def insert(symbol: str, ago: timedelta, price: float = 100.0) -> None:
        row = price_row(symbol, price=price, timestamp=NOW - ago, ingested_at=NOW)
        with database.writing() as connection:
            connection.execute(tables.raw_prices.insert().values(**row))

    without_constraints(database)
    for symbol in SYMBOLS:
        insert(symbol, timedelta(minutes=1))
    yield from results("the first")
    for number, reason in enumerate((Reason.FUTURE_TIMESTAMP, Reason.NEGATIVE_PRICE, Reason.MISSING_PRICE)):
        detail = f"The point is a {reason.value}."
        row = refusal_row(number, SYMBOLS[number], day=TODAY, reason=reason.value, run_id="the second", detail=detail)
        store(database, tables.rejected_prices, row)
    yield from results("the second")
    insert("BTC", -HOUR)
    insert("ETH", HOUR, price=-1.0)
    with database.writing() as connection:
        connection.execute(tables.raw_prices.delete().where(tables.raw_prices.c.symbol == "SOL"))
    yield from results("the third")
    yield from results("the third", "Set the clock.")


def history_checks(database: Database) -> Iterator[str]:
    midnight = start_of_day(TODAY)
    hours = {"BTC": [*range(1, 25), *range(30, 73)], "ETH": range(1, 25)}
    for symbol, before in hours.items():
        store(database, tables.raw_prices, *(price_row(symbol, timestamp=midnight - hour * HOUR) for hour in before))
    names = history_check_names(SYMBOLS)
    yield from (str(result.description) for result in history_results(database, COINS, TODAY - 9 * DAY, names, NOW))
    gap = Interval(midnight - 30 * HOUR, midnight - 24 * HOUR)
    record_absences(
        database, [(COINS.coin("BTC"), gap)], [Absence("BTC", "bitcoin", gap, "Asked at noon.", NOW)], []
    )
    bitcoin, *_ = history_results(database, COINS, TODAY - 9 * DAY, names, NOW)
    yield str(bitcoin.description)
    yield str(next(history_results(database, COINS, TODAY, names, NOW)).description)
    yield str(one_coin_result(database, COINS, TODAY - DAY, NOW).description)
    store(database, tables.raw_prices, price_row("SOL", timestamp=midnight - HOUR, coin_id="solana-2"))
    yield str(one_coin_result(database, COINS, TODAY - DAY, NOW).description)


def assets() -> Iterator[str]:
    """The summaries of the assets."""
    yield str(coverage_metadata([])["summary"])
    days = [DayCoverage("BTC", TODAY - n * DAY, 24, 24, HOUR) for n in range(3)]
    lacking = PastDays("BTC", True, tuple(days), (days[0].day,), (), ())
    silent = [PastDays(f"C{number}", False, (), (), (), ()) for number in range(7)]
    yield str(coverage_metadata([lacking, *silent])["summary"])
    alarms = anomalies_of(anomaly_row("BTC", severity="critical"), anomaly_row("ETH"))
    yield " ".join(overview_lines(alarms, ["BTC"], SYMBOLS, "http://127.0.0.1:8000", NOW))
    hour = datetime(2026, 5, 20, 10, tzinfo=timezone.utc)
    rows = [
        LedgerRow(at, "demo@host", "/simple/price", outcome, "demo", sent, sent)
        for at, outcome, sent in ((hour, "200", 17), (hour, "429", 3), (hour + HOUR, "200", 77))
    ]
    yield hour_sentence(rows, hour)


def calibrations() -> Iterator[str]:
    as_of = start_of_day(TODAY + DAY)
    prices = [price_row(symbol, timestamp=as_of - hour * HOUR) for symbol in ("BTC", "ETH") for hour in range(1, 4)]
    made = calibrate_columns(prices_of(*sorted(prices, key=lambda row: (row["symbol"], row["timestamp"]))), as_of)
    for calibration, new in ((made, ("BTC", "ETH")), (made, ("BTC",)), (made, ()), (None, ())):
        result = CalibrationResult(as_of, calibration, new, ("SOL",))
        yield str(calibration_metadata(result)["summary"])


def failures() -> Iterator[str]:
    """The failure of a run, for one symbol that may be tried again and for an outage with a wrong clock."""
    refused = CoinGeckoError("The plan does not allow it.", endpoint="/simple/price", status=403)
    busy = TransientError("It answered with 503.", endpoint="/simple/price", status=503)
    down = SourceDown("It answered with 503.", endpoint="/simple/price", status=503)
    yield str(collection_failure({"BTC": refused}, None).description)
    yield str(collection_failure({"BTC": busy, "ETH": down, "SOL": down}, -7200.0).description)


def test_the_sentences_are_as_before(sqlite_database: Database, tmp_path: Path, sqlite_template: Path) -> None:
    second = Database(sqlite_database.url.set(database=str(tmp_path / "second.db")))
    (tmp_path / "second.db").write_bytes(sqlite_template.read_bytes())
    sentences = [
        *decisions(), *price_checks(sqlite_database), *history_checks(second), *assets(), *calibrations(), *failures(),
    ]
    second.dispose()
    check_sentences(FILE, sentences)
