"""Log lines as a session of `market-pipeline run` writes them, and what a person reads of them."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from market_pipeline.commands.terminal.narrator import Narrator, Said
from market_pipeline.prices.freshness import next_tick

BEGIN = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
SYMBOLS = ("BTC", "ETH")
TODAY, PAST = "2026-11-23|BTC...2026-11-23|ETH", "2026-08-25|BTC...2026-11-22|ETH"
UNREACHABLE = (
    "no complete answer came (ConnectionError: [Errno -2] Name or service not known); check the network and "
    "COINGECKO_BASE_URL. The next run tries again."
)
TRACE = "Traceback (most recent call last):\n  File \"x.py\", line 1, in f\nZeroDivisionError: division by zero"


class Session:
    """A narrator at a time of its own, which hears the lines of one run after another."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.narrator = Narrator(
            SYMBOLS, lambda after: next_tick("*/5 * * * *", after), lambda run_id: f"http://127.0.0.1:3000/runs/{run_id}",
            clock=lambda: self.now,
        )
        self.runs = 0

    def hear(self, message: str = "", level: str = "INFO", logger: str = "dagster", **fields: Any) -> list[Said]:
        """What is said about one line."""
        time = self.now.isoformat().replace("+00:00", "Z")
        return list(self.narrator.hear(
            {"timestamp": time, "level": level, "logger": logger, "message": message, **fields}
        ))

    def run(self, job: str, partition: str, *lines: dict[str, Any], end: str = "RUN_SUCCESS") -> list[Said]:
        """What is said about a run with these lines between its start and its end."""
        self.runs += 1
        run_id = f"run-{self.runs}"
        begin = {"event": "RUN_START", "job": job, "partition": partition}
        said = [self.hear(**line, run_id=run_id) for line in (begin, *lines, {"event": end, "job": job})]
        return [one for some in said for one in some]


def request(status: int | None = 200) -> dict[str, Any]:
    """A request of a run, without a status if it was not answered."""
    return {"logger": "market_pipeline.coingecko.transport", "attempt": 1, "status_code": status}


def wrote(rows: int, table: str = "raw_prices", symbols: int = 2) -> dict[str, Any]:
    """Rows that a run stored."""
    logger = "market_pipeline.defs.io_manager"
    return {"logger": logger, "asset": table, "rows_affected": rows, "rows_written": rows, "symbols": symbols}


def alarm(severity: str, headline: str) -> dict[str, Any]:
    """A new alarm."""
    logger = "market_pipeline.defs.assets.price_anomalies"
    return {"logger": logger, "message": f"{severity}: {headline}", "severity": severity, "anomaly_id": "1" * 32}


def failure(reason: str, verdict: str = "") -> dict[str, Any]:
    """The failure of a step."""
    fields = {"event": "STEP_FAILURE", "level": "ERROR", "message": "Execution of step failed.", "reason": reason}
    return {**fields, "exc_info": TRACE, **({"verdict": verdict} if verdict else {})}


def a_day() -> Iterator[Said]:
    """What is said from a start without network to a failure that is a bug."""
    session = Session()
    offline = [request(None), failure(f"No prices for BTC, ETH: {UNREACHABLE}", UNREACHABLE)]
    for minutes in (0, 5, 5):
        session.now += timedelta(minutes=minutes)
        yield from session.run("tick", TODAY, *offline, end="RUN_FAILURE")
    session.now += timedelta(minutes=5)
    yield from session.run("tick", TODAY, request(), request(), wrote(290), wrote(1, "rejected_prices"))
    yield from session.run("complete_days", PAST, request(), request(), wrote(4320))
    yield from session.run("calibrate_detectors", "")
    yield from session.run("score_days", PAST, wrote(12, "price_anomalies"))
    yield from session.run("account_requests", "")
    session.now += timedelta(minutes=5)
    yield from session.run(
        "tick", TODAY, request(), wrote(2), alarm("watch", "BTC rose 2.1% in 10 min."),
        alarm("critical", "Market fell 8.1% in the 40 min to 12:20 UTC."),
    )
    for _ in range(2):
        session.now += timedelta(minutes=5)
        yield from session.run("tick", TODAY, request(), failure("division by zero"), end="RUN_FAILURE")
    yield from session.run("tick", TODAY, request(500), failure("the server failed"), end="RUN_FAILURE")
    yield from session.run("__ASSET_JOB", TODAY, end="RUN_SUCCESS")
    by_hand = {**failure("division by zero"), "step": "collect_prices"}
    yield from session.run("__ASSET_JOB", TODAY, by_hand, end="RUN_FAILURE")
    yield from session.run("tick", TODAY, request(), end="RUN_CANCELED")
    watcher = {"logger": "market_pipeline.alerts.watcher", "kind": "x"}
    for change in ("opened", "recovered"):
        title, body = f"No price is fresh ({change})", "Since 12:00 UTC.\nhttp://127.0.0.1:3000"
        yield from session.hear(title, **watcher, severity="critical", transition=change, body=body)
    # The last failed run launched by hand, and one that was killed.
    for run_id in (f"run-{session.runs - 1}", "killed"):
        body = f"At 12:00 UTC.\nhttp://127.0.0.1:3000/runs/{run_id}"
        yield from session.hear("1 run failed (passed)", **watcher, severity="alert", transition="passed", body=body)
    check = {"event": "ASSET_CHECK_EVALUATION", "level": "ERROR", "message": "Check no_x did not pass: 5 rows."}
    for _ in range(2):
        yield from session.hear(**check)
        yield from session.hear("Sensor daemon caught an error", "ERROR", "dagster.daemon", exc_info=TRACE)
        yield from session.hear("The database is slow.", "WARNING", "market_pipeline.storage")
    for chatter in ("Launched 1 runs.", "Checking for new runs for sensor: repair_sensor"):
        yield from session.hear(chatter, logger="dagster.daemon.SensorDaemon")
    full = "  x\nsqlite3.OperationalError: database or disk is full\n(Background on this error at: https://x)"
    for daemon in ("SchedulerDaemon", "SensorDaemon"):
        yield from session.hear(f"{daemon} caught an error:", "ERROR", "dagster.daemon", exc_info=full)
    lost = "x.py:1: UserWarning: Error loading repository location market_pipeline"
    for _ in range(2):
        yield from session.hear(lost, "WARNING")
    yield from session.run("account_requests", "")
    yield from session.hear(lost, "WARNING")
    again = "Code server process has exited with code -9. Restarting the code server process."
    yield from session.hear(again, "WARNING", "dagster._cli.proxy_server_manager")
    yield from session.hear("Child process [6333] died", logger="uvicorn.error")
    ends = "Exception: dagster-daemon process shut down unexpectedly with return code -9"
    yield from session.hear("An unexpected exception has occurred", "ERROR", exc_info=ends)
    face = {"logger": "market_pipeline.commands.terminal.face", "remedy": "Start the same command again."}
    yield from session.hear("Dagster's daemon was killed by SIGKILL, so everything is stopped.", "ERROR", **face)
    for minutes in (0, 11, 20):
        session.now += timedelta(minutes=minutes)
        yield from session.narrator.overdue()
    # A probe repeats itself.
    for status in (500, 500, 503):
        answered, logger = f"GET /anomalies answered {status}", "market_pipeline.api.http.tracing"
        yield from session.hear(answered, logger=logger, status_code=status)
    yield from session.hear("Stopping; this takes some seconds.", logger="market_pipeline.commands.children.processes")
    yield from session.hear("The code server is gone", "ERROR", "dagster.daemon", exc_info=TRACE)
    yield from session.hear("GET / answered 200", logger="market_pipeline.api.http.tracing", status_code=200)


def as_lines(said: Said) -> list[str]:
    """A line of the terminal, without its colours."""
    label = f"{said.label.upper()}  " if said.label else ""
    return [f"{said.at:%H:%M}  {label}{said.text}", *(f"       {line}" for line in said.below)]
