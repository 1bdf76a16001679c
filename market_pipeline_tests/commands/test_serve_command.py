"""`market-pipeline serve` as a person starts it: a process, its answers, its refusals, its end."""

import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
import requests
from sqlalchemy.engine import make_url

from market_pipeline.commands.children.processes import GRACE_SECONDS
from market_pipeline.commands.main import main
from market_pipeline.commands.serve import prepare
from market_pipeline.commands.ports import free_port, require_free
from market_pipeline.dagster_instance.home import create_instance
from market_pipeline.settings import LOCAL_DAGSTER_HOME as HOME
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema, migrate
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.commands.live import leftovers, start
from market_pipeline_tests.postgres import administering

PROJECT = Path(__file__).parents[2]
TOKEN = "a-token-that-nobody-guesses"
OWN = "sqlite:///mine.db"


@pytest.fixture(scope="session")
def used_home(tmp_path_factory):
    """What `make run` leaves in a folder: creating it takes seconds."""
    home = tmp_path_factory.mktemp("used") / HOME
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    create_instance(home)
    return home


@pytest.fixture
def project(project, used_home):
    """A folder in which the pipeline has run before."""
    shutil.copytree(used_home, project / HOME)
    return project


@pytest.fixture
def serve(project):
    """`serve(*arguments, **environment)`: the command on a free port; gives the process and the address."""
    started = []

    def begin(*arguments, **environment):
        port = free_port()
        started.append(start(project, "serve", "--port", str(port), *arguments, **environment))
        return started[-1], f"http://127.0.0.1:{port}"

    yield begin
    for process in started:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def at_the_database(project, monkeypatch):
    """A database that is none: whatever gets so far ends with these words and serves nothing."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("DATABASE_URL", "sqlite:////nowhere/at/all.db")
    return "the folder /nowhere/at does not exist"


def asked(address, path="/healthz", **options):
    """The answer, once somebody listens there."""

    def answer():
        try:
            return [requests.get(address + path, timeout=10, **options)]
        except requests.ConnectionError:
            return None

    return wait_for(answer, 120, f"an answer of {address}")[0]


def ended(process, number=signal.SIGTERM):
    """What the process said, once `number` has ended it."""
    process.send_signal(number)
    return process.communicate(timeout=30)[0]


@pytest.mark.parametrize(("workers", "number"), [("1", signal.SIGINT), ("2", signal.SIGTERM)])
@pytest.mark.slow
def test_it_serves_in_an_empty_folder_and_leaves_nothing_behind(project, serve, workers, number):
    shutil.rmtree(project / HOME)
    process, address = serve("--workers", workers, DATABASE_URL=OWN, LOG_LEVEL="INFO")
    answer = asked(address, "/symbols", headers={"X-Request-ID": "asked-by-a-test"})
    assert answer.status_code == 200
    assert "Server" not in answer.headers
    assert requests.get(address, timeout=10).headers["Content-Type"].startswith("text/html")
    output = ended(process, number)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    lines = [json.loads(line) for line in output.splitlines()]
    assert any(line.get("trace_id") == "asked-by-a-test" for line in lines)
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
def test_a_server_that_ends_by_itself_is_a_failure(project, serve):
    process, address = serve(DATABASE_URL=OWN)
    asked(address)
    [server] = children(process)
    os.kill(server, signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode not in (0, None)
    assert leftovers(project) == []


@pytest.mark.slow
def test_it_ends_while_somebody_collects_from_a_source_that_does_not_answer(project, serve):
    """A thread that waits cannot be cancelled; the process ends all the same."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = "http://127.0.0.1:{}/api/v3".format(silent.getsockname()[1])
        process, address = serve(DATABASE_URL=OWN, COINGECKO_BASE_URL=source, LOG_LEVEL="INFO")
        asked(address)
        host = urlsplit(address)
        with socket.create_connection((host.hostname, host.port)) as asking:
            asking.sendall(b"POST /collect-once/BTC HTTP/1.1\r\nHost: localhost\r\n\r\n")
            silent.settimeout(60)
            source_asked, _ = silent.accept()
            with source_asked:
                began = time.monotonic()
                output = ended(process)
                assert time.monotonic() - began < GRACE_SECONDS, "nobody had to be killed"
            told = b"".join(iter(lambda: asking.recv(10_000), b"")).decode()
    assert process.returncode == 0
    assert told.startswith("HTTP/1.1 503 ") and "shutting-down" in told
    (answered,) = [json.loads(line) for line in output.splitlines() if "collect-once/BTC answered" in line]
    assert answered["status_code"] == 503 and f"x-request-id: {answered['trace_id']}" in told.lower()
    assert "Traceback" not in output
    assert leftovers(project) == []


@pytest.mark.slow
def test_with_a_token_it_listens_everywhere_and_believes_nobody(project, serve):
    """X-Forwarded-For is a word of the client, unless its owner names a proxy."""
    process, address = serve("--host", "0.0.0.0", DATABASE_URL=OWN, API_TOKEN=TOKEN, LOG_LEVEL="INFO")
    headers = {"Host": "prices.example.org", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    assert asked(address, "/symbols", headers=headers).status_code == 401
    headers["Authorization"] = f"Bearer {TOKEN}"
    assert requests.get(f"{address}/symbols", headers=headers, timeout=10).status_code == 200
    output = ended(process)
    assert "203.0.113.9" not in output and TOKEN not in output
    assert '"client_ip": "127.0.0.1"' in output


@pytest.mark.slow
@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_the_loopback_address_of_ipv6_needs_no_token_and_a_named_proxy_tells_who_asks(project, serve):
    process, address = serve("--host", "::1", DATABASE_URL=OWN, LOG_LEVEL="INFO", FORWARDED_ALLOW_IPS="::1")
    headers = {"X-Forwarded-For": "203.0.113.9"}
    assert asked(address.replace("127.0.0.1", "[::1]"), headers=headers).status_code == 200
    output = ended(process)
    assert "http://[::1]:" in output
    assert '"client_ip": "203.0.113.9"' in output


@pytest.mark.slow
def test_without_a_token_it_listens_elsewhere_if_told_so(project, serve):
    process, address = serve("--host", "0.0.0.0", "--without-token", DATABASE_URL=OWN)
    assert asked(address, headers={"Host": "prices.example.org"}).status_code == 200
    ended(process)


@pytest.mark.parametrize(("host", "needs_one"), [
    ("127.0.0.1", False), ("localhost", False), ("LOCALHOST", False), ("::1", False), ("[::1]", False),
    ("127.0.0.2", False), ("::", True), ("10.0.0.1", True), ("0.0.0.0", True),
])
def test_only_loopback_needs_no_token(at_the_database, capsys, host, needs_one):
    assert main(["serve", "--port", str(free_port()), "--host", host]) == 2
    said = capsys.readouterr().err.strip()
    if needs_one:
        assert f"on {host} others could read and collect: set API_TOKEN" in said
        assert "add --without-token" in said and "\n" not in said
    else:
        assert at_the_database in said or "cannot listen on" in said


@pytest.mark.parametrize(("variable", "value"), [("API_TOKEN", TOKEN), ("API_WITHOUT_TOKEN", "true")])
def test_a_setting_opens_it_to_others(at_the_database, monkeypatch, capsys, variable, value):
    monkeypatch.setenv(variable, value)
    assert main(["serve", "--port", str(free_port()), "--host", "0.0.0.0"]) == 2
    assert at_the_database in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "0"], "0 is not in the range"),
        (["--host", "example.org"], "'example.org' is not an address; write 127.0.0.1"),
        (["--host", ""], "is not an address"),
        (["--workers", "0"], "0 is not in the range 1<=x<=64"),
        (["--workers", "many"], "'many' is not a valid integer range"),
    ],
)
def test_what_cannot_be_meant_is_said(capsys, arguments, complaint):
    assert main(["serve", *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_a_port_in_use_and_an_address_of_another_machine_are_named(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"port {port} for the API is in use" in capsys.readouterr().err
    with pytest.raises(click.ClickException, match=r"the API cannot listen on 192\.0\.2\.1, port 8000: "):
        require_free(8000, "the API", "192.0.2.1")


def test_what_may_only_be_read_is_served_if_it_is_migrated(empty_postgres_url, project, monkeypatch, capsys):
    reader = empty_postgres_url.set(username="reader")
    with administering(empty_postgres_url) as run:
        run("CREATE ROLE reader LOGIN")
    monkeypatch.chdir(project)
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


def children(process):
    """The process ids of those that `process` started."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in found.split()]
