"""`market-pipeline run` as a person starts it: a process, its UI, a materialization, its end."""

import json
import signal
import socket
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from market_pipeline.commands.main import main
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.commands.ports import free_port
from market_pipeline.dagster_instance.home import own_home
from market_pipeline.settings import LOCAL_DAGSTER_HOME as HOME
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.commands.live import SCHEDULES, Ui, leftovers, start


@pytest.mark.slow
def test_the_command_serves_collects_and_leaves_nothing_behind(project):
    port = free_port()
    ui = Ui(port)
    yesterday = (utc_now() - timedelta(days=1)).date()
    database = Database(make_url(f"sqlite:///{project / 'mine.db'}"))
    with Simulator(MarketModel(tuple(KNOWN_COINS.values()), seed=7)) as simulator:
        process = start(
            project, "run", "--port", str(port),
            DATABASE_URL="sqlite:///mine.db", COINGECKO_BASE_URL=simulator.base_url,
            COLLECT_CRON="0 0 1 1 *", MARKET_SYMBOLS="BTC", HISTORY_START=yesterday.isoformat(), LOG_LEVEL="INFO",
        )
        try:
            wait_for(ui.is_up, 120, "the UI")
            wait_for(lambda: "results" in ui.ask(SCHEDULES)["schedulesOrError"], 60, "loading the location")
            schedules = ui.ask(SCHEDULES)["schedulesOrError"]["results"]
            assert {s["name"]: s["scheduleState"]["status"] for s in schedules} == {
                "tick_schedule": "RUNNING",
                "completion_schedule": "RUNNING",
                "ledger_schedule": "RUNNING",
                "calibration_schedule": "RUNNING",
            }
            run_id = ui.materialize(f"{yesterday}|BTC")
            assert wait_for(lambda: ui.finished(run_id), 120, "the run's end") == "SUCCESS"
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
    with database.reading() as connection:
        stored = connection.execute(select(raw_prices)).all()
        connection.execute(select(price_anomalies)).all()
    database.dispose()
    assert {row.symbol for row in stored} == {"BTC"}
    assert {row.timestamp.date() for row in stored} <= {yesterday, yesterday + timedelta(days=1)}
    assert len(stored) >= 20
    assert not (project / "of_the_env_file.db").exists(), "the environment wins over .env"
    assert process.returncode == 0
    assert "warning" not in output.lower() and "Traceback" not in output, output
    lines = [json.loads(row) for row in output.splitlines()]
    assert all({"timestamp", "level", "logger", "message"} <= line.keys() for line in lines)
    loggers = {line["logger"] for line in lines}
    assert {"dagster", "dagster.daemon", "dagster-webserver", "market_pipeline.defs.io_manager"} <= loggers
    of_run = [line["message"] for line in lines if line.get("run_id") == run_id and line["logger"] != "dagster"]
    assert len(of_run) == len(set(of_run)) > 3, "each once"
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        pass
    assert leftovers(project) == []


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"COINGECKO_PLAN": "free"}, "COINGECKO_PLAN='free': allowed are keyless, demo, pro"),
        ({"DATABASE_URL": "sqlite:////nowhere/at/all.db"}, "the folder /nowhere/at does not exist"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_a_sentence(project, environment, complaint):
    process = start(project, "run", "--port", str(free_port()), **environment)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert complaint in output
    assert "Traceback" not in output


def test_a_port_in_use_is_named(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(project, "run", "--port", str(port))
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"port {port} for the Dagster UI is in use" in output


@pytest.mark.parametrize("command", ["run", "demo"])
@pytest.mark.parametrize("port", ["0", "-1", "70000", "http"])
def test_what_is_no_port_is_said(capsys, command, port):
    assert main([command, "--port", port]) == 2
    assert "Invalid value for '--port'" in capsys.readouterr().err


def test_it_runs_once_in_a_folder(project):
    """Two daemons on one home would start every run twice; other ports do not help."""
    home = project / HOME
    with own_home(home, ours=False):
        process = start(project, "run", "--port", str(free_port()), DATABASE_URL="sqlite:///mine.db")
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 2
        assert f"already running with {home}; stop it first" in output
        assert "Traceback" not in output
    with own_home(home, ours=False) as free_again:
        assert free_again == home


def test_ctrl_c_before_anything_was_started_is_no_traceback(monkeypatch, tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("market_pipeline.commands.start.command_settings", interrupt)
    assert main(["migrate"]) == 130


def test_an_env_file_that_is_no_utf8_is_said_in_a_sentence(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    (project / ".env").write_bytes(b"LOG_LEVEL=\xff\n")
    assert main(["run", "--port", str(free_port())]) == 2
    assert ".env is not UTF-8 text" in capsys.readouterr().err
