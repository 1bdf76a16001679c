"""Runs that fail in every way, on an instance of their own: no secret in events, logs, output or files."""

import logging
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from dagster._serdes import serialize_value
from sqlalchemy import URL, text
from sqlalchemy.engine import make_url

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.logs.redaction import spellings
from market_pipeline.simulator.faults import Fault
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline_tests.canaries import KEY, PASSWORD, PASSWORD_IN_URL, heard, heard_in_files, words_of

SPACED_PASSWORD = "Kanarienvogel's horse\\ +%/!"


@pytest.fixture
def secret_world(world_of, postgres_database, caplog):
    """PostgreSQL and a paid plan, both with a secret; nothing is heard of either when the test is over."""
    caplog.set_level(logging.DEBUG)
    return world_of(Database(postgres_database.url.set(password=PASSWORD)), COINGECKO_API_KEY=KEY)


@pytest.fixture
def silent(tmp_path, instance, caplog, capfd):
    """`silent()` fails if a secret is in anything that the runs of the instance left behind."""

    def look():
        runs = instance.get_runs()
        found = []
        for run in runs:
            found += heard("run", serialize_value(run))
            found += heard("job", serialize_value(instance.get_job_snapshot(run.job_snapshot_id)))
            plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
            found += heard("plan", serialize_value(plan))
            for entry in instance.all_logs(run.run_id):
                found += heard(f"event of {run.job_name}", serialize_value(entry) + entry.message)
        for record in caplog.records:
            found += heard("log", record.getMessage() + repr(vars(record)) + (record.exc_text or ""))
        output = capfd.readouterr()
        found += heard("stdout", output.out) + heard("stderr", output.err) + heard("log", caplog.text)
        found += heard_in_files(tmp_path) + heard_in_files(Path(instance.root_directory))
        assert runs, "nothing ran, so nothing was looked at"
        assert found == []

    return look


def also_slowly(*rare):
    """Parameters that are worth their seconds only where everything runs."""
    return [pytest.param(one, marks=pytest.mark.slow) for one in rare]


@pytest.mark.parametrize("fault", [
    Fault(kind="echo", times=None),
    Fault(kind="redirect", times=None),
    *also_slowly(
        Fault(kind="html", times=None),
        Fault(kind="error_body", times=None),
        Fault(kind="status", status=401, code=10002, times=None),
        Fault(kind="status", status=403, code=1020, times=None),
        Fault(kind="status", status=429, retry_after=3600, times=None),
    ),
], ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_runs_that_coingecko_refuses(secret_world, silent, fault):
    """The live request, the history and the list of coins each meet it."""
    secret_world.simulator.add_fault(fault)
    yesterday = secret_world.days_ago(1)
    for result in (secret_world.tick(), secret_world.complete(yesterday, yesterday, ["BTC"])):
        assert not result.success
        for event in result.all_events:
            error = event.step_failure_data.error if event.is_step_failure else None
            assert error is None or heard("error", error.to_string()) == []
    silent()


def test_a_list_of_coins_that_repeats_the_key(secret_world, silent):
    secret_world.simulator.add_fault(Fault(kind="echo", path="/coins/list", times=None))
    yesterday = secret_world.days_ago(1)
    result = secret_world.complete(yesterday, yesterday, ["BTC"])
    assert not secret_world.checks(result)["coin_ids_are_listed"].passed
    silent()


def test_prices_that_are_refused_row_by_row(secret_world, silent):
    for kind, coin in (("text_price", "bitcoin"), ("missing_coin", "ethereum"), ("negative_price", "solana")):
        secret_world.simulator.add_fault(Fault(kind=kind, coin=coin, path="/simple/price"))
    secret_world.tick()
    rows = secret_world.rows(tables.rejected_prices)
    assert len(rows) == 3 and heard("table", repr(rows)) == []
    silent()


@pytest.mark.parametrize("spoil", [
    "ALTER TABLE raw_prices ADD CHECK (price < 0)",
    *also_slowly(
        "DROP TABLE raw_prices CASCADE",
        "DROP TABLE request_budgets",
        "DROP TABLE coin_identities",
        "DROP TABLE price_anomalies",
        "UPDATE market_pipeline_version SET version_num = '0000'",
        "UPDATE market_pipeline_version SET version_num = '9999'",
    ),
])
def test_runs_that_the_database_refuses(secret_world, silent, spoil):
    with secret_world.database.writing() as connection:
        connection.execute(text(spoil))
    yesterday = secret_world.days_ago(1)
    assert not secret_world.complete(yesterday, yesterday, ["BTC"]).success
    silent()


@pytest.mark.parametrize("job", ["tick", "complete_days", "account_requests"])
def test_runs_without_a_database(world_of, silent, caplog, job):
    caplog.set_level(logging.DEBUG)
    url = make_url(f"postgresql+psycopg2://me:{PASSWORD_IN_URL}@127.0.0.1:9/prices")
    world = world_of(Database(url), COINGECKO_API_KEY=KEY)
    assert not world.run(job, world.today, world.today).success
    silent()


@pytest.fixture
def repeating_server():
    """The port of a server that asks for the password in clear text and complains of it in every spelling."""
    said = " or ".join(sorted(spellings(SPACED_PASSWORD))).encode()
    body = b"SFATAL\0C28P01\0Mnobody has the password " + said + b"\0\0"
    complaint = b"E" + (len(body) + 4).to_bytes(4, "big") + body

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.settimeout(5)
                    for part in (b"N", b"R\0\0\0\x08\0\0\0\x03", complaint):
                        connection.recv(65_536)
                        connection.sendall(part)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_a_database_that_repeats_the_password_in_every_spelling(world_of, silent, caplog, repeating_server):
    caplog.set_level(logging.DEBUG)
    url = URL.create("postgresql+psycopg2", "me", SPACED_PASSWORD, "127.0.0.1", repeating_server, "prices")
    world = world_of(Database(url), COINGECKO_API_KEY=KEY)
    (failure,) = (event for event in world.run("account_requests", world.today, world.today).all_events
                  if event.is_step_failure)
    assert "nobody has the password [hidden]" in failure.step_failure_data.error_display_string
    silent()


def test_a_failure_in_the_middle_of_the_code_itself(secret_world, silent, monkeypatch):
    """Tracebacks show lines of code, never the values in them."""
    monkeypatch.setattr(CoinGeckoClient, "market_chart_range", lambda *args: 1 / 0)
    yesterday = secret_world.days_ago(1)
    result = secret_world.complete(yesterday, yesterday, ["BTC"])
    assert not result.success
    with pytest.raises(ZeroDivisionError) as caught:
        secret_world.defs.resolve_job_def("complete_days").execute_in_process(
            instance=secret_world.instance, tags=result.dagster_run.tags
        )
    assert heard("error", words_of(caught.value)) == []
    silent()


@pytest.mark.parametrize("secret", [KEY, PASSWORD, PASSWORD_IN_URL])
def test_the_look_itself_hears_a_secret(secret_world, silent, secret):
    result = secret_world.run("account_requests", secret_world.today, secret_world.today)
    secret_world.instance.report_engine_event(f"connecting with {secret}", result.dagster_run)
    with pytest.raises(AssertionError, match="event of account_requests"):
        silent()
