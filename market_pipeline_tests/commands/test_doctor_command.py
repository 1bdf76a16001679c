"""`market-pipeline doctor` as a person and as a program start it: a process, its output, its exit code."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest
from sqlalchemy.engine import make_url

from market_pipeline.commands.main import main
from market_pipeline.dagster_instance.home import create_instance
from market_pipeline.settings import Settings
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate

pytestmark = pytest.mark.slow

# What is found at any installation; schedules, sensors, jobs and newest quotes come by name.
ALWAYS = {
    "settings", "database", "disk space", "database clock", "scores", "gaps", "absent at the source", "refused rows",
    "schedule cost", "api", "server clock", "budget", "dagster home", "code location", "dagster instance", "daemons",
}


@pytest.fixture
def simulator():
    with Simulator(MarketModel(seed=1)) as running:
        yield running


def doctor(project, *arguments, **environment):
    """The finished process; nothing of this one's settings reaches it."""
    names = [name.upper() for name in Settings.model_fields]
    names.append("DAGSTER_HOME")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, "-m", "market_pipeline.commands.main", "doctor", *arguments],
        cwd=project, env={**inherited, **environment}, capture_output=True, text=True, timeout=120,
        check=False,
    )


def by_name(process):
    document = json.loads(process.stdout)
    return document, {finding["name"]: finding for finding in document["findings"]}


def test_a_fresh_clone_is_told_how_to_start(tmp_path, simulator):
    process = doctor(tmp_path, COINGECKO_BASE_URL=simulator.base_url)
    assert process.returncode == 0, process.stdout
    lines = process.stdout.splitlines()
    assert "-> `market-pipeline run` creates it." in process.stdout
    assert "-> Start with `market-pipeline run`." in process.stdout
    assert lines[-1].endswith(" ok") and "fail" not in lines[-1]
    assert any(line.startswith("ok    api") for line in lines)
    assert process.stderr == "" and "\033" not in process.stdout
    assert max(len(line) for line in lines) <= 120 or str(tmp_path) in process.stdout
    assert list(tmp_path.iterdir()) == [], "nothing was created"
    assert len(simulator.requests) == 1


def test_a_program_reads_one_document(project, simulator):
    (project / ".env").write_text("COINGEKO_PLAN=demo\n")
    database = Database(make_url(f"sqlite:///{project / 'prices.db'}"))
    migrate(database)
    database.dispose()
    home = project / ".dagster_home"
    home.mkdir()
    create_instance(home)
    process = doctor(project, "--json", COINGECKO_BASE_URL=simulator.base_url)
    document, found = by_name(process)
    assert process.returncode == 0 and document["status"] == "warn", process.stdout
    assert ALWAYS < set(found)
    assert {"newest BTC", "schedule tick_schedule", "schedule ledger_schedule", "setting names"} < set(found)
    assert all(finding["remedy"] for finding in document["findings"] if finding["status"] != "ok")
    assert not any(finding["because_of"] for finding in document["findings"]), "everything was examined"
    assert found["settings"]["numbers"]["coingecko_api_key"] == "not set"
    assert found["database"]["status"] == found["api"]["status"] == found["code location"]["status"] == "ok"
    assert found["setting names"]["numbers"]["likely"] == "COINGECKO_PLAN"
    assert process.stderr == ""


def test_a_failure_is_the_exit_code_and_the_rest_is_examined(tmp_path, simulator):
    simulator.add_fault(Fault(kind="status", status=503, times=None))
    process = doctor(tmp_path, "--json", COINGECKO_BASE_URL=simulator.base_url)
    document, found = by_name(process)
    assert (process.returncode, document["status"]) == (1, "fail")
    assert found["api"]["status"] == "fail" and found["disk space"]["status"] == "ok"


def test_settings_that_cannot_be_used_keep_nothing_from_being_said(tmp_path):
    process = doctor(tmp_path, "--json", COINGECKO_PLAN="free", LOG_LEVEL="loud")
    document, found = by_name(process)
    assert process.returncode == 1
    assert "COINGECKO_PLAN='free'" in found["settings"]["detail"]
    assert "LOG_LEVEL='LOUD'" in found["settings"]["detail"]
    assert found["api"]["because_of"] == found["database"]["because_of"] == "settings"


def test_no_secret_is_in_any_output(tmp_path):
    """Every part fails in its own words here: the driver's, the server's, Dagster's."""
    home = tmp_path / ".dagster_home"
    home.mkdir()
    url = "postgresql+psycopg2://dagster:canary-of-dagster@127.0.0.1:9/dagster"
    (home / "dagster.yaml").write_text(f"storage:\n  postgres:\n    postgres_url: '{url}'\n")
    (tmp_path / ".env").write_text("COINGEKO_API_KEY=CG-canaryofthefile\n")
    with Simulator(MarketModel(seed=1), plan="pro") as simulator:
        environment = {
            "COINGECKO_PLAN": "demo", "COINGECKO_API_KEY": "CG-canaryofthekey",
            "COINGECKO_BASE_URL": simulator.base_url,
            "DATABASE_URL": "postgresql://market:canary-of-the-database@127.0.0.1:9/market",
        }
        process = doctor(tmp_path, "--json", **environment)
    assert process.returncode == 1
    assert "canary" not in process.stdout + process.stderr
    _, found = by_name(process)
    assert "Demo key on the Pro host" in found["api"]["remedy"]
    assert found["database"]["status"] == found["dagster instance"]["status"] == "fail"
    # On a busy machine Dagster has not given up when its time is up.
    assert "Connection refused" in found["dagster instance"]["detail"] or (
        found["dagster instance"]["remedy"].startswith("The database that dagster.yaml names does not answer")
    )


def test_what_hangs_does_not_hang_the_command(tmp_path):
    """A host that accepts connections and never answers, as database and as API."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        started = time.monotonic()
        process = doctor(
            tmp_path, "--json", COINGECKO_BASE_URL=f"http://127.0.0.1:{port}/api/v3",
            DATABASE_URL=f"postgresql://market:word@127.0.0.1:{port}/market",
        )
        seconds = time.monotonic() - started
    document, found = by_name(process)
    assert process.returncode == 1
    assert "no answer within 7 s" in found["database"]["detail"]
    assert found["api"]["status"] == "fail"
    # 14 s of waiting, and what a busy machine takes to start Python.
    assert seconds < 60


def test_in_this_process_it_says_the_same(monkeypatch, capsys, tmp_path, simulator):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("COINGECKO_BASE_URL", simulator.base_url)
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    assert "not examined" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "warn"
