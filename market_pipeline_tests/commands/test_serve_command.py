"""`market-pipeline serve` as a process: its answers, whom it serves, its end."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy.engine import URL, make_url

from market_pipeline.commands.children.processes import GRACE_SECONDS
from market_pipeline.commands.main import main
from market_pipeline.commands.ports import free_port
from market_pipeline.commands.serve import prepare
from market_pipeline.settings import LOCAL_DAGSTER_HOME as HOME
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema, migrate
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.commands.live import leftovers, start
from market_pipeline_tests.postgres import administering

TOKEN = "a-token-of-the-tests-only"
Process = subprocess.Popen[str]
Serve = Callable[..., tuple[Process, str]]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def serve(project: Path, used_home: Path) -> Iterator[Serve]:
    """Start the command on a free port, in a folder in which the pipeline has run; return process and address."""
    shutil.copytree(used_home, project / HOME)
    started: list[Process] = []

    def begin(*arguments: str, **environment: str) -> tuple[Process, str]:
        port = free_port()
        own = {"DATABASE_URL": "sqlite:///mine.db", "LOG_LEVEL": "INFO", **environment}
        started.append(start(project, "serve", "--port", str(port), *arguments, **own))
        return started[-1], f"http://127.0.0.1:{port}"

    yield begin
    for process in started:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def no_database(inside: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command prints that is refused by the database, after all other checks."""
    monkeypatch.setenv("DATABASE_URL", "sqlite:////nowhere/at/all.db")
    return "the folder /nowhere/at does not exist"


def get(address: str, path: str = "/healthz", **options: Any) -> requests.Response:
    """The answer, once something listens there."""

    def answer() -> list[requests.Response]:
        try:
            return [requests.get(address + path, timeout=30, **options)]
        except requests.ConnectionError:
            return []

    return wait_for(answer, 120, f"an answer of {address}")[0]


def end(process: Process, number: int = signal.SIGTERM) -> str:
    """The output of the process, once `number` has ended it."""
    process.send_signal(number)
    return process.communicate(timeout=60)[0]


@pytest.mark.slow
def test_it_serves_in_an_empty_folder_and_leaves_nothing_behind(project: Path, serve: Serve) -> None:
    shutil.rmtree(project / HOME)
    process, address = serve("--workers", "2")
    answer = get(address, "/symbols", headers={"X-Request-ID": "sent-by-a-test"})
    assert answer.status_code == 200 and "Server" not in answer.headers
    assert requests.get(address, timeout=30).headers["Content-Type"].startswith("text/html")
    output = end(process)
    assert process.returncode == 0, output
    lines = [json.loads(line) for line in output.splitlines()]
    assert any(line.get("trace_id") == "sent-by-a-test" for line in lines)
    of_command = [line for line in lines if line["logger"].startswith("market_pipeline.commands")]
    assert of_command[-1]["message"].startswith("Stopping; ")
    assert len({line["trace_id"] for line in of_command}) == 1
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=2)
    assert leftovers(project) == []
    check_schema(Database(make_url(f"sqlite:///{project / 'mine.db'}")))
    assert not (project / "of_the_env_file.db").exists(), "the environment wins over .env"
    assert (project / HOME / "history").exists()


@pytest.mark.slow
@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_on_ipv6_behind_a_named_proxy_it_ends_while_a_source_does_not_answer(project: Path, serve: Serve) -> None:
    """A waiting thread cannot be cancelled; the process ends all the same."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = f"http://127.0.0.1:{silent.getsockname()[1]}/api/v3"
        process, address = serve(
            "--host", "::", "--without-token", FORWARDED_ALLOW_IPS="::1", COINGECKO_BASE_URL=source
        )
        headers = {"Host": "prices.example.org", "X-Forwarded-For": "203.0.113.9"}
        assert get(address.replace("127.0.0.1", "[::1]"), headers=headers).status_code == 200
        port = urlsplit(address).port
        assert port is not None
        with socket.create_connection(("::1", port)) as client:
            client.sendall(b"POST /collect-once/BTC HTTP/1.1\r\nHost: localhost\r\n\r\n")
            silent.settimeout(60)
            request, _ = silent.accept()
            with request:
                began = time.monotonic()
                output = end(process, signal.SIGINT)
                assert time.monotonic() - began < GRACE_SECONDS, "nothing had to be killed"
            answer = b"".join(iter(lambda: client.recv(10_000), b"")).decode()
    assert process.returncode == 0 and "http://[::]:" in output
    assert '"client_ip": "203.0.113.9"' in output
    assert answer.startswith("HTTP/1.1 503 ") and "shutting-down" in answer
    (logged,) = [json.loads(line) for line in output.splitlines() if "collect-once/BTC answered" in line]
    assert logged["status_code"] == 503 and f"x-request-id: {logged['trace_id']}" in answer.lower()
    assert "Traceback" not in output and leftovers(project) == []


@pytest.mark.slow
def test_with_a_token_it_trusts_no_forwarded_address_and_its_own_end_is_a_failure(
    project: Path, serve: Serve
) -> None:
    process, address = serve("--host", "0.0.0.0", API_TOKEN=TOKEN)
    headers = {"Host": "prices.example.org", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    assert get(address, "/symbols", headers=headers).status_code == 401
    headers["Authorization"] = f"Bearer {TOKEN}"
    assert requests.get(f"{address}/symbols", headers=headers, timeout=30).status_code == 200
    [server] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(server), signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert "203.0.113.9" not in output and TOKEN not in output
    assert '"client_ip": "127.0.0.1"' in output
    assert leftovers(project) == []


@pytest.mark.parametrize(("host", "needs_one"), [
    ("127.0.0.1", False), ("LOCALHOST", False), ("::1", False), ("[::1]", False), ("127.0.0.2", False),
    ("::", True), ("10.0.0.1", True), ("0.0.0.0", True),
])
def test_only_loopback_needs_no_token(no_database: str, capsys: Capture, host: str, needs_one: bool) -> None:
    assert main(["serve", "--port", str(free_port()), "--host", host]) == 2
    said = capsys.readouterr().err
    assert ("API_TOKEN" in said) is needs_one
    assert needs_one or no_database in said or "cannot listen on" in said


@pytest.mark.parametrize(("variable", "value"), [("API_TOKEN", TOKEN), ("API_WITHOUT_TOKEN", "true")])
def test_a_setting_opens_it_to_others(
    no_database: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["serve", "--port", str(free_port()), "--host", "0.0.0.0"]) == 2
    assert no_database in capsys.readouterr().err


def test_a_database_that_may_only_be_read_is_served_if_it_is_migrated(
    empty_postgres_url: URL, inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    reader = empty_postgres_url.set(username="reader")
    with administering(empty_postgres_url) as run:
        run("CREATE ROLE reader LOGIN")
    monkeypatch.setenv("DATABASE_URL", reader.render_as_string(hide_password=False))
    assert main(["serve", "--port", str(free_port())]) == 2
    said = capsys.readouterr().err
    assert "the role reader may not create tables in schema public" in said and len(said.splitlines()) == 1
    owner = Database(empty_postgres_url)
    migrate(owner)
    owner.dispose()
    with administering(empty_postgres_url) as run:
        run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    prepare(Database(reader))
