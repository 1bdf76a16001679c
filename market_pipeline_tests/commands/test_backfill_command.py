"""`market-pipeline backfill`: it says what it takes, asks, does it, and never asks twice for the same."""

import io
import json
import logging
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
from datetime import date, datetime, timedelta, timezone

import click
import dagster as dg
import pytest
from sqlalchemy import text

from market_pipeline.budget.plan_limits import Limits, account_of
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.commands.dagster_runs import Runs
from market_pipeline.commands.backfill_plan import reachable_span
from market_pipeline.commands.main import main
from market_pipeline.commands.progress import RunProgress
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.dagster_instance.home import create_instance
from market_pipeline.settings import LOCAL_DAGSTER_HOME as HOME
from market_pipeline.settings import load_settings
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.commands.filling import Filling

pytestmark = pytest.mark.slow


@pytest.fixture
def filling_of(project, monkeypatch):
    """Builds a Filling whose settings are those of this process."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(project)
    # Each test has a standard error of its own, so each configures its own logging.
    monkeypatch.setattr(logging.getLogger("market_pipeline"), "handlers", [])
    with Simulator(MarketModel(tuple(KNOWN_COINS.values()), seed=7)) as simulator:

        def build(**settings):
            filling = Filling(project, simulator, **settings)
            for name, value in filling.environment.items():
                monkeypatch.setenv(name, value)
            opened.append(filling)
            return filling

        opened = []
        yield build
    for filling in opened:
        filling.database.dispose()


@pytest.fixture
def filling(filling_of):
    return filling_of().migrate()


def test_a_dry_run_says_what_it_takes_and_asks_nothing(filling, capsys):
    assert filling.backfill(361, 0, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "1,810 partitions" in said
    assert "25 requests in 13 runs, about 1 min at 600 requests a minute" in said
    assert f"to {filling.settled} of BTC, ETH" in said, "the newest days come first"
    assert "and 8 more" in said
    assert filling.simulator.requests == []
    assert not (filling.project / HOME).exists()


def test_it_fills_what_is_missing_and_then_there_is_nothing_to_do(filling, capsys):
    assert filling.backfill(2, 0, "--symbols", "btc, ETH", "--yes") == 0
    output = capsys.readouterr()
    assert "6 partitions" in output.out and "2 requests in 1 run" in output.out
    assert f"Stored {filling.rows()} rows with 2 requests." in output.out
    assert "Everything from" in output.out and "of BTC, ETH is stored." in output.out
    assert "Run 1 of 1, " in output.err
    assert "DEBUG" not in output.err and '"level": "INFO"' not in output.err, "the terminal is not a log"
    assert len(filling.history) == 2
    assert filling.backfill(2, 0, "--symbols", "BTC,ETH") == 0, "no question where nothing is to be done"
    assert "is stored." in capsys.readouterr().out
    assert len(filling.history) == 2
    assert filling.backfill(3, 1, "--yes") == 0
    assert "9 partitions" not in capsys.readouterr().out
    asked = filling.history[2:]
    assert len(asked) == len(set(asked)) == 5, "three symbols of three days, two of the day that was new"


def test_its_runs_are_in_the_instance_like_those_of_the_schedules(filling):
    assert filling.backfill(1, 0, "--symbols", "DOT", "--yes") == 0
    (run,) = filling.runs()
    assert (run.job_name, run.status.value) == ("complete_days", "SUCCESS")
    assert run.tags["dagster/asset_partition_range_start"] == f"{filling.days_ago(1)}|DOT"
    assert run.tags["dagster/asset_partition_range_end"] == f"{filling.days_ago(0)}|DOT"


def test_the_week_after_a_filled_hole_is_scored_again(filling):
    """The days were scored without those before them."""
    assert filling.backfill(0, 0, "--symbols", "ADA", "--yes") == 0
    assert filling.backfill(1, 0, "--symbols", "ADA", "--yes") == 0
    assert [run.job_name for run in filling.runs()] == ["complete_days", "complete_days", "score_days"]
    assert len(filling.history) == 2


def test_the_instance_of_dagster_home_is_used(filling, monkeypatch, tmp_path):
    home = tmp_path / "elsewhere"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert filling.backfill(0, 0, "--symbols", "BTC", "--yes") == 2, "there is no such folder"
    home.mkdir()
    assert filling.backfill(0, 0, "--symbols", "BTC", "--yes") == 0
    assert len(filling.runs()) == 1
    assert not (filling.project / HOME).exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--from", "2026-01-05", "--to", "2026-01-01"], "2026-01-05 comes after 2026-01-01"),
        (["--from", "2026-01-05", "--to", "2999-01-01"], "2999-01-01 has not begun"),
        (["--from", "2013-05-05", "--to", "2026-01-01"], "2013-05-05 is before HISTORY_START="),
        (["--from", "2026-01-01", "--to", "2026-01-02", "--symbols", "PEPE"], "Unsupported symbol: 'PEPE'"),
    ],
)
def test_what_cannot_be_filled_is_said(filling, capsys, arguments, complaint):
    assert main(["backfill", *arguments]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", "'' is not a day; write it as 2026-01-31"),
        ("yesterday", "'yesterday' is not a day; write it as 2026-01-31"),
        ("2026-02-30", "'2026-02-30' is not a day; write it as 2026-01-31"),
    ],
)
def test_what_is_no_day_is_said(filling, capsys, written, complaint):
    assert main(["backfill", "--from", written, "--to", "2026-01-01"]) == 2
    assert complaint in capsys.readouterr().err


def test_it_may_be_the_first_command_of_all(filling_of, capsys):
    """On a fresh clone there is no database yet."""
    filling = filling_of()
    assert not (filling.project / "mine.db").exists()
    assert filling.backfill(1, 0, "--symbols", "BTC", "--dry-run") == 0
    assert "2 partitions" in capsys.readouterr().out


def test_without_a_terminal_it_does_nothing_unless_told_to(filling, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert filling.backfill(0, 0) == 2
    assert "add --yes" in capsys.readouterr().err
    assert filling.simulator.requests == []


@pytest.mark.parametrize(("answer", "requests"), [("n", 0), ("", 0), ("y", 1)])
def test_a_person_is_asked(filling, capsys, monkeypatch, answer, requests):
    terminal, other = pty.openpty()
    os.write(terminal, f"{answer}\n".encode())
    with os.fdopen(other) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert filling.backfill(0, 0, "--symbols", "BTC") == 0
    os.close(terminal)
    assert "Go on? [y/N]" in capsys.readouterr().out
    assert len(filling.history) == requests


def test_today_is_left_to_the_ticks(filling, capsys):
    today = utc_now().date().isoformat()
    assert main(["backfill", "--from", today, "--to", today]) == 0
    assert f"{today} is not over; the ticks collect it." in capsys.readouterr().out


def test_what_coingecko_is_still_publishing_is_left_out_and_not_called_stored():
    """In the hour after midnight the day before is not complete at the source."""
    now = datetime(2026, 5, 20, 0, 30, tzinfo=timezone.utc)
    yesterday, first = date(2026, 5, 19), date(2026, 5, 1)
    for last in (yesterday, now.date()):
        span = reachable_span(first, last, history_start=first, reach=None, now=now)
        assert (span.first, span.last) == (first, date(2026, 5, 18))
        assert span.notes[-1] == "CoinGecko is still publishing 2026-05-19, which is left out until 01:00 UTC."
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
def test_the_remedy_for_days_without_partitions_is_accepted(history_start, reach_days, setting, again):
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


def test_a_failed_run_stops_it_with_the_reason_and_the_next_goes_on(filling, capsys):
    fault = Fault(kind="status", status=400, code=10012, times=None, path="/coins/solana")
    filling.simulator.add_fault(fault)
    asked = ("--symbols", "BTC,SOL,DOT", "--yes")
    assert filling.backfill(0, 0, *asked) == 1
    said = capsys.readouterr().out
    assert f"of {filling.settled} to {filling.settled} of SOL failed: No prices for SOL" in said
    assert "Run the same command again" in said
    filling.simulator.clear_faults()
    assert filling.backfill(0, 0, *asked) == 0
    assert sorted(coin for coin, _, _ in filling.history) == ["bitcoin", "polkadot", "solana"]


def test_what_a_run_of_it_logs_carries_the_runs_id(filling, capsys):
    filling.simulator.add_fault(Fault(kind="status", status=400, code=10012, times=None, path="/coins/solana"))
    assert filling.backfill(0, 0, "--symbols", "SOL", "--yes") == 1
    (run,) = filling.runs()
    lines = [json.loads(row) for row in capsys.readouterr().err.splitlines() if row.startswith("{")]
    of_run = [line for line in lines if "run_id" in line]
    assert of_run and all(line["trace_id"] == line["run_id"] == run.run_id for line in of_run)


def test_an_answer_without_prices_is_believed_for_a_time_only_and_asked_again_on_demand(filling, capsys):
    """The day is not complete, and the same command does not ask again at once."""
    filling.simulator.add_fault(Fault(kind="no_points", path="/coins/cardano"))
    asked = ("--symbols", "ADA", "--yes")
    for _ in range(2):
        assert filling.backfill(0, 0, *asked) == 1
        said = capsys.readouterr().out
        assert "CoinGecko answered without all prices of ADA 1 day" in said and "Everything" not in said
        assert f"ADA from {filling.settled} 00:00 UTC" in said and "not proven, asked again from" in said
        assert "--again asks now" in said
    assert len(filling.history) == 1
    assert filling.backfill(0, 0, *asked, "--again") == 0
    assert "Everything from" in capsys.readouterr().out
    assert len(filling.history) == 2


def test_what_is_missing_in_the_end_is_told(filling, capsys):
    """Here somebody deletes what is stored."""
    with filling.database.writing() as connection:
        connection.execute(
            text("CREATE TRIGGER thief AFTER INSERT ON raw_prices BEGIN DELETE FROM raw_prices; END")
        )
    assert filling.backfill(0, 0, "--symbols", "ADA", "--yes") == 1
    assert "CoinGecko answered without all prices of ADA 1 day" in capsys.readouterr().out


def test_the_credits_of_the_month_are_told_before_and_end_it_in_time(filling_of, capsys):
    """The first run spends one more on the daily look at the list of coins; the last finds only the one
    that is kept for the tick that may be under way."""
    filling = filling_of(COINGECKO_MONTHLY_CREDITS="4").migrate()
    asked = ("--symbols", "BTC,SOL,DOT", "--yes")
    code = filling.backfill(0, 0, *asked)
    said = capsys.readouterr().out
    assert "3 credits; 4 of the month's 4 are left, of which 1 are reserved for live prices until" in said
    assert code == 1
    assert "3 of the 4 credits of this month" in said and "They renew on" in said
    assert filling.backfill(0, 0, *asked) == 1
    assert "That suffices for 0 requests; the same command does the rest after" in capsys.readouterr().out


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_there_is_a_bar_and_logs_appear_above_it(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    logger = logging.getLogger("market_pipeline.coingecko.transport")
    logger.setLevel(logging.INFO)
    with RunProgress(10) as progress:
        logger.info("GET", extra={"status_code": 200})
        logger.info("Waiting", extra={"wait_seconds": 41.3})
        progress.finished("Run 1", 5, 120, 2)
    drawn = terminal.getvalue()
    assert "5 of 10 partitions" in drawn
    assert "120 rows with 2 requests" in drawn
    assert ", 1 more under way" in drawn
    assert "waiting 41 s for the request budget" in drawn
    assert (progress.rows, progress.requests) == (120, 2)
    assert "Run 1" not in drawn, "lines are for where there is no bar"


def hanging(filling):
    """Let the second of three runs never get its answer; whether its request was sent."""
    filling.simulator.add_fault(Fault(kind="hang", times=None, path="/coins/solana"))
    return lambda: any("solana" in request.path for request in filling.simulator.requests)


def assert_it_goes_on_where_it_stopped(filling, arguments):
    assert [coin for coin, _, _ in filling.history if coin != "solana"] == ["bitcoin"]
    filling.simulator.clear_faults()
    before = len(filling.history)
    assert main(arguments) == 0
    after = [coin for coin, _, _ in filling.history[before:]]
    assert after == ["solana", "polkadot"], "what is complete is not asked for"
    assert not [key for key in filling.missing(4, 0) if key[1] in ("BTC", "SOL", "DOT")]


def test_ctrl_c_ends_it_in_order_and_the_same_command_goes_on(filling, capsys):
    sent = hanging(filling)

    def press_ctrl_c():
        wait_for(sent, 120, "the second run's request")
        os.kill(os.getpid(), signal.SIGINT)

    arguments = filling.arguments(4, 0, "--symbols", "BTC,SOL,DOT", "--yes")
    pressing = threading.Thread(target=press_ctrl_c)
    pressing.start()
    assert main(arguments) == 130
    pressing.join()
    said = capsys.readouterr()
    assert "The runs that ended stored 120 rows with" in said.out and "Run the same command again" in said.out
    assert "Traceback" not in said.err
    assert [run.status.value for run in filling.runs()] == ["SUCCESS", "CANCELED"]
    assert_it_goes_on_where_it_stopped(filling, arguments)


def test_a_killed_one_leaves_no_run_hanging_and_the_same_command_goes_on(filling):
    sent = hanging(filling)
    arguments = filling.arguments(4, 0, "--symbols", "BTC,SOL,DOT", "--yes")
    command = [sys.executable, "-m", "market_pipeline.commands.main", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(sent, 120, "the second run's request")
        process.kill()
    assert [run.status.value for run in filling.runs()] == ["SUCCESS", "STARTED"]
    assert_it_goes_on_where_it_stopped(filling, arguments)
    assert [run.status.value for run in filling.runs()][:2] == ["SUCCESS", "FAILURE"]


def test_a_run_of_somebody_else_is_let_end_first(filling, capsys, monkeypatch):
    """It may be asking for the same days."""
    monkeypatch.setattr(Runs, "poll_seconds", 0.2)
    home = filling.project / HOME
    home.mkdir()
    shutil.copy(filling.project / "dagster.yaml", home)
    create_instance(home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        job = dg.GraphDefinition(name="complete_days").to_job()
        other = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        threading.Timer(1.0, lambda: instance.report_run_canceled(other)).start()
        assert filling.backfill(0, 0, "--symbols", "BTC", "--yes") == 0
    assert f"Waiting for run {other.run_id[:8]} of complete_days to end" in capsys.readouterr().err
    monkeypatch.setattr(Runs, "patience_seconds", 0.0)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        assert filling.backfill(0, 0, "--symbols", "ETH", "--yes") == 0, "nobody waits for ever"


def test_two_at_the_same_moment_on_a_new_installation_ask_for_nothing_twice(filling_of):
    """Neither has tables of prices, a home or an instance to begin with."""
    filling = filling_of(MARKET_SYMBOLS="BTC,ETH")
    command = [sys.executable, "-m", "market_pipeline.commands.main", *filling.arguments(2, 0, "--yes")]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **piped) as one, subprocess.Popen(command, **piped) as other:
        outputs = [process.communicate(timeout=120)[0] for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), outputs
    assert len(filling.history) == len(set(filling.history)) == 2
    (late,) = [output for output in outputs if "(stored meanwhile by others): 0 rows" in output]
    assert "Everything from" in late and "Traceback" not in "".join(outputs)
    assert sorted(run.status.value for run in filling.runs()) == ["SUCCESS"]


def test_scores_that_fail_are_told(filling, capsys, monkeypatch):
    assert filling.backfill(0, 0, "--symbols", "ADA", "--yes") == 0

    def failing(*given):
        raise RuntimeError("no scores today")

    monkeypatch.setattr("market_pipeline.pipeline.score.detect_days", failing)
    with dg.DagsterInstance.from_config(str(filling.project / HOME)) as instance:
        key = dg.AssetMaterialization("raw_prices", partition=f"{filling.settled}|ADA")
        instance.report_runless_asset_event(key)
    assert filling.backfill(0, 0, "--symbols", "ADA", "--yes") == 1
    said = capsys.readouterr().out
    assert "could not be computed: RuntimeError: no scores today. Run the same command again" in said


def test_a_home_that_cannot_be_written_is_said_in_a_sentence(filling, capsys):
    (filling.project / HOME).touch()
    assert filling.backfill(0, 0, "--symbols", "ADA", "--yes") == 2
    assert f"{HOME} must be a folder that can be written" in capsys.readouterr().err


def test_a_pause_that_the_server_asked_for_is_told(filling_of, capsys):
    filling = filling_of()
    filling.migrate()
    budget = SharedBudget(filling.database, account_of(load_settings()), Limits(600, None))
    budget.settle(budget.acquire("/ping"), "429", cool_down=60.0, reason="the server said so")
    assert filling.backfill(0, 0, "--dry-run") == 0
    assert "(the server said so); the first request waits." in capsys.readouterr().out


def test_days_that_the_plan_does_not_see_are_left_out(filling, capsys):
    assert filling.backfill(399, 360, "--symbols", "BTC", "--dry-run") == 0
    oldest = (utc_now() - timedelta(days=365)).date() + timedelta(days=1)
    assert f"no prices from before {oldest}; days before it are left out" in capsys.readouterr().out
    assert filling.backfill(399, 390) == 1, "they are not stored, and not proven to be absent"
    assert "None of these days can be filled now." in capsys.readouterr().out
