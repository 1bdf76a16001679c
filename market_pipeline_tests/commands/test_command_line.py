"""What all commands have in common: exit codes, ids in the log, warnings at the start, a quick help."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
from sqlalchemy.engine import make_url

from market_pipeline.commands.main import commands, main
from market_pipeline.commands.ports import free_port, require_free
from market_pipeline.commands.run import choose_api_port, with_addresses
from market_pipeline.commands.start import warn_of_cost
from market_pipeline.core.program import PROGRAM
from market_pipeline.dagster_instance.home import own_home
from market_pipeline.dagster_instance.running import record, running
from market_pipeline.logs import current_trace_id
from market_pipeline.settings import LOCAL_DAGSTER_HOME, load_settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema
from market_pipeline_tests.logging_state import restored

Capture = pytest.CaptureFixture[str]
HEAVY = "{'dagster', 'sqlalchemy', 'numpy', 'pandas', 'matplotlib', 'pydantic', 'requests'}"


def lines_of(capsys: Capture) -> list[dict[str, Any]]:
    """The log lines so far."""
    return [json.loads(row) for row in capsys.readouterr().err.splitlines() if row.startswith("{")]


def test_migrate_creates_the_tables_once(
    inside: Path, monkeypatch: pytest.MonkeyPatch, empty_postgres_url: Any
) -> None:
    for url in (f"sqlite:///{inside / 'new.db'}", empty_postgres_url.render_as_string(hide_password=False)):
        monkeypatch.setenv("DATABASE_URL", url)
        assert main(["migrate"]) == 0
        assert main(["migrate"]) == 0, "twice is the same as once"
        database = Database(make_url(url))
        check_schema(database)
        database.dispose()


def test_help_and_refused_arguments_wait_for_no_heavy_import() -> None:
    code = (
        "import sys; from market_pipeline.commands.main import main\n"
        "codes = main(['--help']), main(['backfill', '--help']), main([]), main(['chart'])\n"
        f"print(codes, {HEAVY} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "(0, 0, 2, 2) set()"


def test_every_help_has_examples_and_a_first_sentence_that_fits_a_terminal(capsys: Capture) -> None:
    for name, command in commands.commands.items():
        epilog = command.epilog or ""
        assert epilog.startswith("\b\nExample") and f"  {PROGRAM} {name}" in epilog, name
        assert len(command.get_short_help_str(200)) <= 58, name
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert [name for name in commands.commands if f"\n  {name} " not in printed] == []


def test_each_command_logs_with_an_id_of_its_own(inside: Path, capsys: Capture) -> None:
    (inside / ".env").write_text("DATABASE_URL=sqlite:///new.db\nCOLECT_CRON=canary\n")
    for _ in range(2):
        with restored():
            assert main(["migrate"]) == 0
    lines = lines_of(capsys)
    assert [line["level"] for line in lines] == ["WARNING", "INFO"] * 2
    assert "COLECT_CRON in .env is not a setting" in lines[0]["message"] and "canary" not in lines[0]["message"]
    ids = [line["trace_id"] for line in lines]
    assert ids[0] == ids[1] != ids[2] == ids[3] and all(uuid.UUID(one).version == 4 for one in ids)
    assert current_trace_id() is None


def test_an_unexpected_error_is_logged_with_the_commands_id(
    inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def fail(database: Database) -> None:
        raise RuntimeError("this was not expected")

    monkeypatch.setenv("DATABASE_URL", "sqlite:///new.db")
    monkeypatch.setattr("market_pipeline.commands.tables.migrate", fail)
    assert main(["migrate"]) == 1
    (line,) = lines_of(capsys)
    assert line["level"] == "CRITICAL" and "this was not expected" in line["exc_info"]
    assert uuid.UUID(line["trace_id"]).version == 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_stopped_ends_in_order_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, number: signal.Signals, code: int
) -> None:
    ended = []

    def stop() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            ended.append(True)

    def stop_halfway() -> None:
        try:
            stop()
        finally:
            raise RuntimeError("cannot be closed")

    before = signal.getsignal(signal.SIGTERM)
    for stopped in (stop, stop_halfway):
        monkeypatch.setattr("market_pipeline.commands.tables.command_settings", stopped)
        assert main(["migrate"]) == code and ended
    assert capsys.readouterr().err.strip() == "" and signal.getsignal(signal.SIGTERM) == before


def test_an_env_file_that_is_not_utf8_is_refused_in_a_sentence(inside: Path, capsys: Capture) -> None:
    (inside / ".env").write_bytes(b"LOG_LEVEL=\xff\n")
    assert main(["run"]) == 2
    assert ".env is not UTF-8 text" in capsys.readouterr().err


def test_run_refuses_a_port_in_use_and_a_home_that_is_taken(
    inside: Path, capsys: Capture
) -> None:
    """Two daemons on one home would start every run twice; other ports do not help."""
    home = inside / LOCAL_DAGSTER_HOME
    with own_home(home, ours=False):
        record(home, UI="http://127.0.0.1:3917")
        assert main(["run", "--port", str(free_port())]) == 2
        message = capsys.readouterr().err
    assert f"already running with {home} (process {os.getpid()}, since 20" in message
    assert "UTC; UI http://127.0.0.1:3917); stop it first" in message
    assert running(home) is None
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert main(["run", "--port", str(port)]) == 2
    assert f"port {port} for the Dagster UI is in use" in capsys.readouterr().err
    with pytest.raises(click.ClickException, match=r"the API cannot listen on 192\.0\.2\.1, port 8000: "):
        require_free(8000, "the API", "192.0.2.1")


@pytest.mark.parametrize(("answer", "name"), [
    (b'{"status": "alive"}', "an API of market-pipeline"), (b'{"dagster_webserver_version":"1"}', "a Dagster UI"),
    (b'{"status": "ok"}', "another program"),
])
def test_what_uses_a_port_is_named_by_its_answer(answer: bytes, name: str) -> None:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            with pytest.raises(click.ClickException, match=f"is in use by {name}"):
                require_free(server.server_port, "the API")
        finally:
            server.shutdown()


def test_run_serves_the_api_where_it_can_and_links_lead_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`make api` may have been started before; a port that was chosen must be free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        monkeypatch.setattr("market_pipeline.commands.run.API_PORT", taken)
        assert choose_api_port(None) is None
        assert "The API is not served" in caplog.text and "--api-port, or add --no-api" in caplog.text
        with pytest.raises(click.ClickException, match=r"by another program .*; stop that or choose .* --api-"):
            choose_api_port(taken)
    free = free_port()
    assert choose_api_port(free) == free
    settings = with_addresses(load_settings(None, api_url="https://prices.example.org"), 3917, free)
    assert (settings.dagster_ui_url, settings.api_url) == ("http://127.0.0.1:3917", "https://prices.example.org")


@pytest.mark.parametrize(("cron", "warned"), [("* * * * *", True), ("0 * * * *", False)])
def test_a_schedule_that_the_plan_cannot_pay_for_is_a_warning(
    caplog: pytest.LogCaptureFixture, sqlite_database: Database, cron: str, warned: bool
) -> None:
    settings = load_settings(None, coingecko_plan="demo", coingecko_api_key="CG-x", collect_cron=cron)
    warn_of_cost(settings, sqlite_database)
    assert ("10,000 credits" in caplog.text and "COLLECT_CRON='" in caplog.text) is warned
