"""`market-pipeline backfill`: it prints what it takes, asks, does it, and never requests a day twice."""

import io
import json
import logging
import os
import pty
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone

import click
import dagster as dg
import pytest

from market_pipeline.budget.plan_limits import Limits, account_of
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.commands.backfill_plan import reachable_span
from market_pipeline.commands.dagster_runs import Runs, recorded_runs
from market_pipeline.commands.main import main
from market_pipeline.commands.progress import RunProgress
from market_pipeline.core.clock import utc_now
from market_pipeline.pipeline.calibrate import calibrate_due
from market_pipeline.settings import LOCAL_DAGSTER_HOME as HOME
from market_pipeline.settings import load_settings
from market_pipeline.simulator.faults import Fault
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.commands.filling import Filling
from market_pipeline_tests.forking import start_fork

pytestmark = pytest.mark.slow

Capture = pytest.CaptureFixture[str]
FillingOf = Callable[..., Filling]
GOOD = ("complete_days", "SUCCESS")


@contextmanager
def typing(monkeypatch: pytest.MonkeyPatch, text: str) -> Iterator[None]:
    """A terminal on which `text` is typed."""
    terminal, other = pty.openpty()
    os.write(terminal, f"{text}\n".encode())
    with os.fdopen(other) as stdin, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        yield
    os.close(terminal)


def test_days_before_the_window_of_partitions_are_refused_with_the_setting_that_includes_them(
    filling: Filling, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("PARTITION_DAYS", "30")
    assert filling.backfill(361, 0, "--dry-run") == 2
    message = capsys.readouterr().err
    assert "PARTITION_DAYS=30 begin" in message and filling.simulator.requests == []
    monkeypatch.setenv("PARTITION_DAYS", message.rpartition("PARTITION_DAYS=")[2].split()[0])
    assert filling.backfill(361, 0, "--dry-run") == 0


def test_a_dry_run_prints_the_plan_and_requests_nothing(filling: Filling, capsys: Capture) -> None:
    assert filling.backfill(361, 0, "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("1,810 partitions")
    assert lines[2].startswith("25 requests in 5 runs, about 1 min at 600 requests a minute")
    assert f"to {filling.settled} of BTC, ETH" in lines[3], "the newest days come first"
    assert len(lines) == 8
    assert filling.simulator.requests == [] and filling.runs() == []


def test_it_asks_fills_what_is_missing_and_scores_the_week_after_it(
    filling: Filling, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with typing(monkeypatch, "y"):
        assert filling.backfill(0, 0, "--symbols", "btc, ETH") == 0
    output = capsys.readouterr()
    assert "2 partitions" in output.out and "2 requests in 1 run" in output.out and "Go on? [y/N]" in output.out
    assert f"Stored {filling.rows()} rows with 2 requests." in output.out
    assert f"Everything from {filling.settled} to {filling.settled} of BTC, ETH is stored." in output.out
    assert f"`market-pipeline run` fills the days since {filling.days_ago(400)}, then calibrates" in output.out
    calibrate_due(filling.database, ["BTC", "ETH"], utc_now())
    assert "Run 1 of 1, " in output.err
    assert "DEBUG" not in output.err and '"level": "INFO"' not in output.err, "the terminal is not a log"
    (run,) = filling.runs()
    assert (run.job_name, run.status.value) == GOOD
    assert run.tags["dagster/asset_partition_range_start"] == f"{filling.settled}|BTC"
    assert run.tags["dagster/asset_partition_range_end"] == f"{filling.settled}|ETH"
    assert filling.backfill(0, 0, "--symbols", "BTC,ETH") == 0, "no question where nothing is to be done"
    assert "is stored." in capsys.readouterr().out
    assert filling.backfill(1, 0, "--symbols", "BTC", "--yes") == 0
    assert "not calibrated" not in capsys.readouterr().out
    assert filling.statuses() == [GOOD, GOOD, ("score_days", "SUCCESS")], "later days were scored without this one"
    assert len(filling.history) == len(set(filling.history)) == 3


@pytest.mark.parametrize("answer", ["n", "", "\x04"])
def test_it_does_nothing_without_a_yes(
    filling: Filling, capsys: Capture, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    with typing(monkeypatch, answer):
        assert filling.backfill(0, 0) == 0
    assert "Nothing was done." in capsys.readouterr().out and filling.simulator.requests == []


def test_without_a_terminal_it_needs_the_flag(
    filling: Filling, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert filling.backfill(0, 0) == 2
    assert "--yes" in capsys.readouterr().err and filling.simulator.requests == []


def test_today_is_left_to_the_ticks(filling: Filling) -> None:
    today = utc_now().date().isoformat()
    assert main(["backfill", "--from", today, "--to", today]) == 0


def test_days_that_the_plan_does_not_serve_are_left_out(filling: Filling, capsys: Capture) -> None:
    assert filling.backfill(399, 360, "--symbols", "BTC", "--dry-run") == 0
    oldest = (utc_now() - timedelta(days=365)).date() + timedelta(days=1)
    assert f"before {oldest}" in capsys.readouterr().out
    assert filling.backfill(399, 390) == 1, "they are not stored, and not proven to be absent"


def test_what_coingecko_is_still_publishing_is_left_out() -> None:
    """In the hour after midnight the day before is not complete at the source."""
    first, yesterday = date(2026, 5, 1), date(2026, 5, 19)
    now = datetime(2026, 5, 20, 0, 30, tzinfo=timezone.utc)
    for last in (yesterday, now.date()):
        span = reachable_span(first, last, history_start=first, reach=None, now=now)
        assert (span.first, span.last) == (first, date(2026, 5, 18))
        assert "2026-05-19" in span.notes[-1]
    an_hour_later = reachable_span(first, yesterday, history_start=first, reach=None, now=now.replace(hour=1))
    assert (an_hour_later.last, an_hour_later.notes) == (yesterday, ())


@pytest.mark.parametrize(
    ("history_start", "reach_days", "setting", "again"),
    [
        ("2026-01-01", None, "2020-01-01", "2020-01-01"),
        ("2026-01-01", 365, "2025-12-01", "2025-12-01"),
        ("2025-01-01", 365, None, "2025-12-01"),
    ],
)
def test_the_remedy_for_days_without_partitions_is_accepted(
    history_start: str, reach_days: int | None, setting: str | None, again: str
) -> None:
    """Without a paid plan no setting brings back days that CoinGecko does not serve."""
    day, now = date.fromisoformat, datetime(2026, 11, 30, 5, tzinfo=timezone.utc)
    reach = None if reach_days is None else timedelta(days=reach_days)
    with pytest.raises(click.UsageError, match="2020-01-01 is before HISTORY_START") as refused:
        reachable_span(day("2020-01-01"), day("2020-02-01"), history_start=day(history_start), reach=reach, now=now)
    assert (f"set HISTORY_START={setting} " in refused.value.message) == (setting is not None)
    if reach is not None:
        assert f"from {again} on, or use a paid plan" in refused.value.message
    begin = day(setting or history_start)
    span = reachable_span(day(again), day("2026-02-01"), history_start=begin, reach=reach, now=now)
    assert (span.first, span.notes) == (day(again), ())


def test_a_failed_run_stops_it_with_the_reason_and_the_next_goes_on(filling: Filling, capsys: Capture) -> None:
    filling.simulator.add_fault(Fault(kind="status", status=400, code=10012, times=None, path="/coins/solana"))
    assert filling.backfill(0, 0, "--symbols", "BTC,SOL", "--yes") == 1
    output = capsys.readouterr()
    assert f"of {filling.settled} to {filling.settled} of SOL failed: No prices for SOL" in output.out
    assert output.out.count("What is stored") <= 1, "not by the run and the command"
    lines = [json.loads(row) for row in output.err.splitlines() if row.startswith("{")]
    of_run = [line for line in lines if "run_id" in line]
    assert of_run and {(line["trace_id"], line["run_id"]) for line in of_run} == {(filling.runs()[1].run_id,) * 2}
    filling.simulator.clear_faults()
    assert filling.backfill(0, 0, "--symbols", "BTC,SOL", "--yes") == 0
    assert [coin for coin, _, _ in filling.history] == ["bitcoin", "solana"]


def test_an_answer_without_prices_is_believed_for_a_time_and_asked_again_on_demand(
    filling: Filling, capsys: Capture
) -> None:
    """The day is not complete, and the same command does not request it again at once."""
    filling.simulator.add_fault(Fault(kind="no_points", path="/coins/cardano"))
    for _ in range(2):
        assert filling.backfill(0, 0, "--symbols", "ADA", "--yes") == 1
        said = capsys.readouterr().out
        assert "without all prices of ADA 1 day" in said and "Everything" not in said
        assert f"ADA from {filling.settled} 00:00 UTC" in said and "--again does so now" in said
    assert len(filling.history) == 1
    assert filling.backfill(0, 0, "--symbols", "ADA", "--yes", "--again") == 0
    assert "Everything from" in capsys.readouterr().out and len(filling.history) == 2


def test_the_credits_of_the_month_are_planned_and_end_it_in_time(filling_of: FillingOf, capsys: Capture) -> None:
    """The first run spends one more on the list of coins; the last finds only the one reserved for a tick."""
    filling = filling_of(COINGECKO_MONTHLY_CREDITS="3")
    assert filling.backfill(0, 0, "--symbols", "BTC,SOL", "--yes") == 1
    said = capsys.readouterr().out
    assert "2 credits; 3 of the month's 3 are left, of which 1 are reserved" in said
    assert "2 of the 3 credits of this month" in said
    assert filling.backfill(0, 0, "--symbols", "BTC,SOL", "--dry-run") == 0
    assert "suffices for 0 requests" in capsys.readouterr().out


def test_a_pause_that_the_server_asked_for_is_shown(filling: Filling, capsys: Capture) -> None:
    budget = SharedBudget(filling.database, account_of(load_settings()), Limits(600, None))
    budget.settle(budget.acquire("/ping"), "429", cool_down=60.0, reason="as requested")
    assert filling.backfill(0, 0, "--dry-run") == 0
    assert "(as requested)" in capsys.readouterr().out


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_a_bar_and_logs_appear_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    logger = logging.getLogger("market_pipeline.coingecko.transport")
    logger.setLevel(logging.INFO)
    with RunProgress(10) as progress:
        progress.begins("2026-11-20 to 2026-11-21 of BTC", 6, 2)
        progress.redraw()
        logger.info("GET", extra={"status_code": 200})
        progress.redraw()
        logger.info("Waiting", extra={"wait_seconds": 41.3, "wait_for": "minute budget"})
        progress.redraw()
        progress.finished("Run 1", 5, 120, 2)
    drawn = terminal.getvalue()
    for shown in ("2 of 10 partitions", "5 of 10 partitions", "120 rows with 2 requests",
                  "preparing the run of 2026-11-20", "requesting: 1 of 2 requests",
                  "minute budget: next request in 41 s"):
        assert shown in drawn
    assert (progress.rows, progress.requests) == (120, 2)
    assert "Run 1" not in drawn, "lines are for where there is no bar"


def hanging(filling: Filling) -> Callable[[], bool]:
    """Let the second run never get its answer; whether its request was sent."""
    filling.simulator.add_fault(Fault(kind="hang", times=None, path="/coins/solana"))
    return lambda: any("solana" in request.path for request in filling.simulator.requests)


def test_ctrl_c_ends_it_in_order(filling: Filling, capsys: Capture) -> None:
    sent = hanging(filling)

    def press_ctrl_c() -> None:
        wait_for(sent, 120, "the second run's request")
        os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press_ctrl_c)
    pressing.start()
    assert filling.backfill(0, 0, "--symbols", "BTC,SOL", "--yes") == 130
    pressing.join()
    output = capsys.readouterr()
    assert f"The runs that ended stored {filling.rows()} rows with" in output.out
    assert "Traceback" not in output.err
    assert [run.status.value for run in filling.runs()] == ["SUCCESS", "CANCELED"]


def test_a_killed_one_leaves_no_run_hanging_and_the_same_command_goes_on(filling: Filling) -> None:
    sent = hanging(filling)
    arguments = filling.arguments(0, 0, "--symbols", "BTC,SOL", "--yes")
    process = start_fork(main, arguments)
    wait_for(sent, 120, "the second run's request")
    process.kill()
    process.join(60)
    assert [run.status.value for run in filling.runs()] == ["SUCCESS", "STARTED"]
    filling.simulator.clear_faults()
    assert main(arguments) == 0
    assert [coin for coin, _, _ in filling.history].count("bitcoin") == 1, "what is complete is not requested"
    ends = [run.status.value for run in filling.runs() if run.job_name == "complete_days"]
    assert ends == ["SUCCESS", "FAILURE", "SUCCESS"]


def test_a_run_of_another_process_ends_first_unless_it_hangs(
    filling: Filling, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """It may be requesting the same days."""
    job = dg.GraphDefinition(name="complete_days").to_job()
    with filling.instance() as instance, recorded_runs(load_settings(), filling.database) as runs:
        other = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        monkeypatch.setattr(Runs, "patience_seconds", 0.0)
        runs.wait_for_others("complete_days")
        monkeypatch.setattr(Runs, "patience_seconds", 60.0)
        monkeypatch.setattr("time.sleep", lambda seconds: instance.report_run_canceled(other))
        runs.wait_for_others("complete_days")
    assert filling.statuses() == [("complete_days", "CANCELED")]


def test_two_at_the_same_moment_on_a_new_installation_request_nothing_twice(
    filling_of: FillingOf, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither has tables of prices, a home or an instance to begin with."""
    filling = filling_of(MARKET_SYMBOLS="BTC")
    filling.database.dispose()
    shutil.rmtree(filling.project / HOME)
    for file in filling.project.glob("mine.db*"):
        file.unlink()

    def execute() -> None:
        sys.exit(main(filling.arguments(0, 0, "--yes")))

    both = [start_fork(execute) for _ in range(2)]
    for process in both:
        process.join(120)
    output = capfd.readouterr()
    assert [process.exitcode for process in both] == [0, 0], output
    assert len(filling.history) == 1 and filling.statuses() == [GOOD]
    assert output.out and "Traceback" not in output.out + output.err


def test_scores_that_fail_are_reported(filling: Filling, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here in a home that DAGSTER_HOME names."""
    home = filling.project / "elsewhere"
    shutil.move(filling.project / HOME, home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert filling.backfill(0, 0, "--symbols", "ADA", "--yes") == 0

    def failing(*given: object) -> None:
        raise RuntimeError("no scores today")

    monkeypatch.setattr("market_pipeline.pipeline.score.detect_days", failing)
    with filling.instance() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("raw_prices", partition=f"{filling.settled}|ADA"))
    assert filling.backfill(0, 0, "--symbols", "ADA", "--yes") == 1
    assert "could not be computed: RuntimeError: no scores today. " in capsys.readouterr().out
    assert len(filling.runs()) == 2 and not (filling.project / HOME).exists()


def test_a_home_that_cannot_be_written_is_refused_in_a_sentence(filling: Filling, capsys: Capture) -> None:
    shutil.rmtree(filling.project / HOME)
    (filling.project / HOME).touch()
    assert filling.backfill(0, 0, "--symbols", "ADA", "--yes") == 2
    assert f"{HOME} must be a folder that can be written" in capsys.readouterr().err
