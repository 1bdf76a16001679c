"""The commands with secrets in `.env`, failing in every way: none in their words, files or the UI."""

import json
import logging
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from sqlalchemy import text

from market_pipeline.commands.main import main
from market_pipeline.core.clock import utc_now
from market_pipeline.commands.ports import free_port
from market_pipeline.settings import Settings
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.canaries import KEY, PASSWORD, PASSWORD_IN_URL, heard, heard_in_files
from market_pipeline_tests.commands.live import Ui, start

CLOSED = f"postgresql://me:{PASSWORD_IN_URL}@127.0.0.1:9/prices"
LONG_AGO = (utc_now() - timedelta(days=20)).date().isoformat()
COMMANDS = [
    ["migrate"],
    ["doctor"],
    ["doctor", "--json"],
    ["backfill", "--from", LONG_AGO, "--to", LONG_AGO, "--dry-run"],
    ["backfill", "--from", LONG_AGO, "--to", LONG_AGO, "--yes"],
    ["replay", "--yes"],
]

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


def write_settings(project, **settings):
    values = {
        "COINGECKO_PLAN": "pro", "COINGECKO_API_KEY": KEY, "COLLECT_CRON": "0 0 1 1 *", "LOG_LEVEL": "DEBUG",
        "HISTORY_START": LONG_AGO, **settings,
    }
    (project / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))


@pytest.fixture
def told(project, monkeypatch, capfd, caplog):
    """The folder with the secrets in its `.env`; afterwards they are in nothing else."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(project)
    monkeypatch.setattr(logging.getLogger("market_pipeline"), "handlers", [])
    caplog.set_level(logging.DEBUG)
    yield project
    output = capfd.readouterr()
    found = heard("stdout", output.out) + heard("stderr", output.err) + heard("log", caplog.text)
    found += heard_in_files(project, project / ".env")
    assert output.out + output.err, "nothing was said, so nothing was looked at"
    assert found == []


@pytest.fixture
def simulator():
    with Simulator(MarketModel(seed=1), plan="pro") as running:
        yield running


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[::3]))
def test_without_a_database(told, simulator, command):
    write_settings(told, DATABASE_URL=CLOSED, COINGECKO_BASE_URL=simulator.base_url)
    assert main(command) in (1, 2)


@pytest.mark.parametrize("fault", [Fault(kind="echo", times=None), Fault(kind="redirect", times=None)],
                         ids=lambda fault: fault.kind)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[::3]))
def test_with_a_server_that_repeats_the_key(told, simulator, postgres_database, command, fault):
    url = postgres_database.url.set(password=PASSWORD).render_as_string(hide_password=False)
    write_settings(told, DATABASE_URL=url, COINGECKO_BASE_URL=simulator.base_url)
    simulator.add_fault(fault)
    asks = command[0] == "doctor" or (command[0] == "backfill" and "--yes" in command)
    assert main(command) == (1 if asks else 0)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[::3]))
def test_with_settings_that_cannot_be_used(told, command):
    write_settings(told, DATABASE_URL=f"mysql://me:{PASSWORD_IN_URL}@host/x", COINGECKO_PLAN="free")
    assert main(command) in (1, 2)


@pytest.mark.slow
def test_a_failing_run_as_the_ui_shows_it(told, simulator, postgres_database, capfd):
    """The real processes: code server, daemon, UI and a run of its own process, asked over GraphQL."""
    url = postgres_database.url.set(password=PASSWORD).render_as_string(hide_password=False)
    write_settings(told, DATABASE_URL=url, COINGECKO_BASE_URL=simulator.base_url)
    with postgres_database.writing() as connection:
        connection.execute(text("ALTER TABLE raw_prices ADD CHECK (price < 0)"))
    today, port = utc_now().date(), free_port()
    ui, process = Ui(port), start(told, "run", "--port", str(port))
    try:
        wait_for(ui.is_up, 120, "the UI")
        wait_for(lambda: is_loaded(ui), 60, "loading the location")
        refused = ui.materialize(f"{today}|BTC")
        assert wait_for(lambda: ui.finished(refused), 120, "the run's end") == "FAILURE"
        simulator.add_fault(Fault(kind="echo", times=None))
        echoed = ui.materialize(f"{today}|BTC")
        assert wait_for(lambda: ui.finished(echoed), 120, "the run's end") == "FAILURE"
        shown = json.dumps(ui.ask(EVERYTHING))
        keys = [[run, "compute_logs", "collect_prices"] for run in (refused, echoed)]
        logs = json.dumps([ui.ask(LOGS, key=key) for key in keys])
    finally:
        process.send_signal(signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    sys.stdout.write(output)
    assert "database refused the rows" in shown and "[hidden]" in shown, "both failures are shown"
    assert heard("GraphQL", shown) + heard("captured logs", logs) + heard("output", output) == []


def is_loaded(ui):
    entries = ui.ask(EVERYTHING)["workspaceOrError"]["locationEntries"]
    found = [entry["locationOrLoadError"] or {} for entry in entries]
    return any(entry.get("__typename") == "RepositoryLocation" for entry in found)
