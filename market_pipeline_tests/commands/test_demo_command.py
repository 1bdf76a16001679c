"""`market-pipeline demo`: nothing but this machine is needed, and the first look shows something."""

import os
import re
import signal
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from market_pipeline.commands import demo_data
from market_pipeline.commands.demo_data import HISTORY_DAYS, demo_settings
from market_pipeline.commands.main import main
from market_pipeline.commands.ports import free_port
from market_pipeline.core.clock import utc_now
from market_pipeline.core.program import DEMO_VARIABLE
from market_pipeline.dagster_instance.home import own_home, variables_set
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.commands.live import Ui, leftovers, start

API = re.compile(r"or (http://[0-9.:]+) for the API")


def test_no_setting_of_a_person_reaches_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bad one would prevent its start, a later HISTORY_START the filling of its first days."""
    quiet = demo_settings(tmp_path, 8080, 3000, 8090, 8000)
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "nonsense")
    assert demo_settings(tmp_path, 8080, 3000, 8090, 8000) == quiet
    assert quiet.history_start < utc_now().date() - timedelta(days=HISTORY_DAYS)


def test_a_command_on_the_demos_data_is_checked_before_a_simulator_starts(
    inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_data, "simulator_command", lambda *_: ["false"])
    monkeypatch.setattr(demo_data, "_READY_SECONDS", 0.0)
    migrate(Database(make_url(f"sqlite:///{inside / demo_data.DATABASE}")))
    (inside / demo_data.HOME).mkdir()
    last = last_settled_day(utc_now())
    two_days = ["--from", str(last - timedelta(days=1)), "--to", str(last)]
    for arguments, code, shown in (
        (["--days", "0"], 2, "Invalid value"), (["--days", "2", "--symbols", "PEPE"], 2, "Unsupported symbol"),
        (["--days", "99"], 2, "in the demo; begin there"),
        ([*two_days, "--dry-run"], 0, "10 partitions"),
        (["--days", "2", "--yes"], 2, "the simulator does not answer"),
    ):
        assert main(["backfill", *arguments, "--demo"]) == code
        output = capsys.readouterr()
        assert shown in output.out + output.err
    assert DEMO_VARIABLE not in os.environ and "DAGSTER_HOME" not in os.environ
    of_demo = {DEMO_VARIABLE: "1", "COINGECKO_BASE_URL": "http://127.0.0.1:9/api/v3"}
    with variables_set(of_demo), own_home(inside / demo_data.HOME, ours=True), demo_data.simulated_source():
        # While it runs, its own simulator answers.
        pass


@pytest.mark.slow
def test_the_demo_fills_a_week_and_ticks_without_internet(project: Path) -> None:
    port = free_port()
    ui = Ui(port)
    process = start(
        project, "demo", "--port", str(port), LOG_LEVEL="loud", HISTORY_START="2999-01-01", LOG_FORMAT="console"
    )
    assert process.stdout is not None
    lines: list[str] = []
    reading = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
    reading.start()
    database = Database(make_url(f"sqlite:///{project / 'demo.db'}"))

    def count(*where: Any) -> int:
        with database.reading() as connection:
            return connection.execute(select(func.count()).select_from(raw_prices).where(*where)).scalar_one()

    try:
        wait_for(ui.is_up, 180, "the UI")
        wait_for(lambda: count(raw_prices.c.source == "simple_price") >= 5, 180, "the first tick")
        wait_for(lambda: ("tick", "SUCCESS") in ui.runs(), 90, "the end of its run")
        assert ("complete_days", "SUCCESS") in ui.runs()
        assert "FAILURE" not in {status for _, status in ui.runs()}
        api = wait_for(lambda: API.search("".join(lines)), 60, "the address of the API")
        assert api is not None
        latest = requests.get(f"{api[1]}/prices/BTC/latest", timeout=30).json()
        assert latest["source"] == "simple_price" and latest["price"] > 0
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        reading.join(10)
        process.stdout.close()
        output = "".join(lines)
    assert count(raw_prices.c.timestamp < utc_now() - timedelta(days=7)) > 0
    assert count() > 7 * 5 * 20
    database.dispose()
    assert "Alerts sent to json://127.0.0.1" in output and "This process watches and sends alerts." in output
    assert "open http://127.0.0.1" in output and "GET /prices/BTC/latest answered 200" in output
    assert not [line for line in lines if line.startswith("{")], "people read this"
    # A run that is interrupted when everything stops may warn.
    assert "warning" not in output.partition("Stopping; ")[0].lower() and "Traceback" not in output, output
    assert not (project / "of_the_env_file.db").exists()
    assert leftovers(project) == []
