"""`market-pipeline doctor`: its output for people and for programs, its exit code, and that nothing stops it."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from market_pipeline.commands.main import main
from market_pipeline.settings import LOCAL_DAGSTER_HOME as HOME
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.commands.filling import Filling

pytestmark = pytest.mark.slow

Capture = pytest.CaptureFixture[str]
# What is found at any installation; schedules, sensors, jobs and newest quotes come by name.
ALWAYS = {
    "settings", "database", "disk space", "database clock", "scores", "gaps", "absent at the source", "refused rows",
    "schedule cost", "api", "server clock", "budget", "dagster home", "code location", "dagster instance", "daemons",
}


@pytest.fixture
def fresh(inside: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, as a fresh clone has none of our files."""
    for file in inside.iterdir():
        file.unlink()
    monkeypatch.setenv("COINGECKO_BASE_URL", simulator.base_url)
    return inside


def examine(capsys: Capture) -> tuple[int, str, dict[str, Any]]:
    """The exit code, the status and the findings by name."""
    code = main(["doctor", "--json"])
    output = capsys.readouterr()
    assert output.err == ""
    document = json.loads(output.out)
    return code, document["status"], {finding["name"]: finding for finding in document["findings"]}


def test_in_a_fresh_folder_it_shows_how_to_start(fresh: Path, simulator: Simulator, capsys: Capture) -> None:
    assert main(["doctor"]) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert "-> Start `market-pipeline run`, which creates" in output.out
    assert lines[-1].endswith(" ok") and "fail" not in lines[-1]
    assert any(line.startswith("ok    api") for line in lines)
    assert output.err == "" and "\033" not in output.out
    assert max(len(line) for line in lines) <= 120 or str(fresh) in output.out
    assert list(fresh.iterdir()) == [], "nothing was created"
    assert len(simulator.requests) == 1


def test_a_program_reads_one_document(filling: Filling, capsys: Capture) -> None:
    (filling.project / ".env").write_text("COINGEKO_PLAN=demo\n")
    code, status, found = examine(capsys)
    assert (code, status) == (0, "warn")
    assert found.keys() > ALWAYS | {"newest BTC", "schedule tick_schedule", "schedule ledger_schedule", "setting names"}
    assert all(finding["remedy"] for finding in found.values() if finding["status"] != "ok")
    assert not any(finding["because_of"] for finding in found.values()), "everything was examined"
    assert found["settings"]["numbers"]["coingecko_api_key"] == "not set"
    assert found["database"]["status"] == found["api"]["status"] == found["code location"]["status"] == "ok"
    assert found["setting names"]["numbers"]["likely"] == "COINGECKO_PLAN"


def test_a_failure_is_the_exit_code_and_the_rest_is_examined(
    fresh: Path, simulator: Simulator, capsys: Capture
) -> None:
    simulator.add_fault(Fault(kind="status", status=503, times=None))
    code, status, found = examine(capsys)
    assert (code, status) == (1, "fail")
    assert found["api"]["status"] == "fail" and found["disk space"]["status"] == "ok"


def test_bad_settings_are_a_finding_like_others(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("COINGECKO_PLAN", "free")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    code, _, found = examine(capsys)
    assert code == 1
    assert "COINGECKO_PLAN='free'" in found["settings"]["detail"]
    assert "LOG_LEVEL='LOUD'" in found["settings"]["detail"]
    assert found["api"]["because_of"] == found["database"]["because_of"] == "settings"


def test_no_secret_is_in_any_output(fresh: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    """Every part fails in its own words here: the driver's, the server's, Dagster's."""
    home = fresh / HOME
    home.mkdir()
    url = "postgresql+psycopg2://dagster:canary-of-dagster@127.0.0.1:9/dagster"
    (home / "dagster.yaml").write_text(f"storage:\n  postgres:\n    postgres_url: '{url}'\n")
    (fresh / ".env").write_text("COINGEKO_API_KEY=CG-canaryofthefile\n")
    with Simulator(MarketModel(seed=1), plan="pro") as pro:
        for name, value in {
            "COINGECKO_PLAN": "demo", "COINGECKO_API_KEY": "CG-canaryofthekey", "COINGECKO_BASE_URL": pro.base_url,
            "DATABASE_URL": "postgresql://market:canary-of-the-database@127.0.0.1:9/market",
        }.items():
            monkeypatch.setenv(name, value)
        assert main(["doctor", "--json"]) == 1
    output = capfd.readouterr()
    assert "canary" not in output.out + output.err
    found = {finding["name"]: finding for finding in json.loads(output.out)["findings"]}
    assert "Demo key on the Pro host" in found["api"]["remedy"]
    assert found["database"]["status"] == found["dagster instance"]["status"] == "fail"


def test_what_hangs_does_not_hang_the_command(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that accepts connections and never answers, as database and as API: 14 s of waiting, then the end."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("COINGECKO_BASE_URL", f"http://127.0.0.1:{port}/api/v3")
        monkeypatch.setenv("DATABASE_URL", f"postgresql://market:word@127.0.0.1:{port}/market")
        command = [sys.executable, "-m", "market_pipeline.commands.main", "doctor", "--json"]
        process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = {finding["name"]: finding for finding in json.loads(process.stdout)["findings"]}
    assert process.returncode == 1
    assert "no answer within 7 s" in found["database"]["detail"]
    assert found["api"]["status"] == "fail"
