"""Secrets in `.env`, and commands and runs that fail in every way: none is in any output, file or the UI.

The last test is that of `market-pipeline run` as well: real processes, a materialization, their end.
"""

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from market_pipeline.commands.main import main
from market_pipeline.commands.ports import free_port
from market_pipeline.core.clock import utc_now
from market_pipeline.pipeline.names import automations
from market_pipeline.settings import LOCAL_DAGSTER_HOME as HOME
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline_tests.alerts.receiving import serving
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.canaries import KEY, PASSWORD, PASSWORD_IN_URL, WORD, heard, heard_in_files
from market_pipeline_tests.commands.live import Ui, leftovers, start

CLOSED = f"postgresql://me:{PASSWORD_IN_URL}@127.0.0.1:9/prices"
LONG_AGO = (utc_now() - timedelta(days=20)).date().isoformat()
BACKFILL = ["backfill", "--from", LONG_AGO, "--to", LONG_AGO, "--yes"]
COMMANDS = [["migrate"], ["doctor", "--json"], BACKFILL, ["replay", "--yes"], ["alert-test"]]
WriteSettings = Callable[..., None]

EVERYTHING = """
{
  runsOrError { ... on Runs { results {
    runId jobName status runConfigYaml tags { key value } stepKeysToExecute
    eventConnection(limit: 1000) { events {
      __typename
      ... on MessageEvent { message }
      ... on ErrorEvent { error { message stack className causes { message stack } } }
      ... on DisplayableEvent { description label metadataEntries {
        label description
        ... on TextMetadataEntry { text }
        ... on MarkdownMetadataEntry { mdStr }
        ... on JsonMetadataEntry { jsonString }
        ... on UrlMetadataEntry { url }
        ... on PathMetadataEntry { path }
        ... on TableMetadataEntry { table { records } }
      } }
    } }
  } } }
  instance { info runLauncher { name } executablePath
    daemonHealth { allDaemonStatuses { daemonType lastHeartbeatErrors { message stack } } } }
  allTopLevelResourceDetailsOrError(repositorySelector: {
    repositoryLocationName: "market_pipeline", repositoryName: "__repository__"
  }) { ... on ResourceDetailsList { results { name description configuredValues { key value type } } } }
  workspaceOrError { ... on Workspace { locationEntries {
    name displayMetadata { key value } locationOrLoadError { __typename ... on PythonError { message stack } }
  } } }
}
"""
LOGS = "query Logs($key: [String!]!) { capturedLogs(logKey: $key) { stdout stderr } }"


@pytest.fixture
def write_settings(
    inside: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Iterator[WriteSettings]:
    """Write a `.env` with secrets; afterwards they are in nothing else."""
    caplog.set_level(logging.DEBUG)

    def write(**settings: str) -> None:
        values = {
            "COINGECKO_PLAN": "pro", "COINGECKO_API_KEY": KEY, "COLLECT_CRON": "0 0 1 1 *", "LOG_LEVEL": "DEBUG",
            "HISTORY_START": LONG_AGO, "ALERT_URLS": f"json://me:{PASSWORD_IN_URL}@127.0.0.1:9/{WORD}-hook", **settings,
        }
        (inside / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))

    yield write
    output = capfd.readouterr()
    found = heard("stdout", output.out) + heard("stderr", output.err) + heard("log", caplog.text)
    found += heard_in_files(inside, inside / ".env")
    assert output.out + output.err, "there is something to search"
    assert found == []


@pytest.fixture
def pro() -> Iterator[Simulator]:
    with Simulator(MarketModel(seed=1), plan="pro") as running:
        yield running


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("url", [CLOSED, f"mysql://me:{PASSWORD_IN_URL}@host/x"], ids=["closed", "mysql"])
def test_without_a_database(write_settings: WriteSettings, pro: Simulator, command: list[str], url: str) -> None:
    write_settings(DATABASE_URL=url, COINGECKO_BASE_URL=pro.base_url)
    assert main(command) in (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["echo", "redirect"])
def test_with_a_server_that_repeats_the_key(
    write_settings: WriteSettings, pro: Simulator, postgres_database: Database, kind: str
) -> None:
    url = postgres_database.url.set(password=PASSWORD).render_as_string(hide_password=False)
    write_settings(DATABASE_URL=url, COINGECKO_BASE_URL=pro.base_url)
    pro.add_fault(Fault(kind=kind, times=None))
    assert [main(command) for command in COMMANDS] == [0, 1, 1, 0, 1]


@pytest.mark.slow
def test_runs_as_the_ui_shows_them(
    write_settings: WriteSettings, pro: Simulator, postgres_database: Database, inside: Path
) -> None:
    """Code server, daemon, UI and a process for each run: one that succeeds and one that fails."""
    url = postgres_database.url.set(password=PASSWORD).render_as_string(hide_password=False)
    today = utc_now().date().isoformat()
    with serving() as receiver:
        write_settings(
            DATABASE_URL=url, COINGECKO_BASE_URL=pro.base_url, LOG_LEVEL="INFO", HISTORY_START=today,
            ALERT_URLS=f"{receiver.url}{WORD}-hook", ALERT_HEARTBEAT_URL=f"http://127.0.0.1:{receiver.server_port}/{WORD}",
        )
        _runs_as_the_ui_shows_them(pro, postgres_database, inside, today)
    assert heard("alerts", repr(receiver.messages)) == []


def _runs_as_the_ui_shows_them(pro: Simulator, postgres_database: Database, inside: Path, today: str) -> None:
    partition, port = f"{today}|BTC", free_port()
    ui, process = Ui(port), start(inside, "run", "--no-api", "--port", str(port))

    def end_of_run() -> tuple[str, str]:
        run_id = ui.materialize(partition)
        return run_id, wait_for(lambda: ui.end_of(run_id) or "", 120, "the run's end")

    try:
        wait_for(ui.is_up, 120, "the UI")
        schedules = wait_for(lambda: ui.schedules() or {}, 60, "loading the location")
        wanted = [one.name for one in automations("0 0 1 1 *") if one.cron]
        assert schedules == dict.fromkeys(wanted, "RUNNING")
        stored, status = end_of_run()
        assert status == "SUCCESS"
        with postgres_database.reading() as connection:
            assert connection.execute(text("SELECT count(*) FROM raw_prices")).scalar_one() > 0
        pro.add_fault(Fault(kind="echo", times=None))
        echoed, status = end_of_run()
        assert status == "FAILURE"
        shown = json.dumps(ui.ask(EVERYTHING))
        logs = json.dumps(ui.ask(LOGS, key=[echoed, "compute_logs", "collect_prices"]))
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=90)
    sys.stdout.write(output)
    assert "[hidden]" in shown, "the failure is shown"
    assert heard("GraphQL", shown) + heard("captured logs", logs) + heard("output", output) == []
    assert process.returncode == 0 and leftovers(inside) == []
    lines = [json.loads(row) for row in output.splitlines()]
    assert all({"timestamp", "level", "logger", "message"} <= line.keys() for line in lines)
    loggers = {line["logger"] for line in lines}
    assert {"dagster", "dagster.daemon", "dagster-webserver", "market_pipeline.defs.io_manager"} <= loggers
    of_run = [line["message"] for line in lines if line.get("run_id") == stored and line["logger"] != "dagster"]
    assert len(of_run) == len(set(of_run)) > 3, "each once"
    bad = [line for line in lines if line["level"] != "INFO" and line.get("run_id") != echoed]
    assert bad == []
    assert "DAGSTER_DATABASE_URL" in (inside / HOME / "dagster.yaml").read_text(), "its storage is PostgreSQL, too"
