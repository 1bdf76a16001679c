"""Runs that fail in every way: no secret in events, logs, output or files."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
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
from market_pipeline_tests.defs.world import World, WorldOf, failure_of

SPACED_PASSWORD = "Kanarienvogel's horse\\ +%/!"
Silent = Callable[[], None]


@pytest.fixture
def secret_world(world_of: WorldOf, postgres_database: Database, caplog: pytest.LogCaptureFixture) -> World:
    """PostgreSQL and a paid plan, both with a secret."""
    caplog.set_level(logging.DEBUG)
    return world_of(
        Database(postgres_database.url.set(password=PASSWORD)), coingecko_api_key=KEY, market_symbols="BTC,ETH,SOL"
    )


@pytest.fixture
def silent(
    tmp_path: Path, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Silent:
    """`silent()` fails if a secret is in anything that the runs of the instance left behind."""

    def check() -> None:
        runs = instance.get_runs()
        found = []
        for run in runs:
            found += heard("run", serialize_value(run))
            job: Any = instance.get_job_snapshot(str(run.job_snapshot_id))
            plan: Any = instance.get_execution_plan_snapshot(str(run.execution_plan_snapshot_id))
            found += heard("job", serialize_value(job)) + heard("plan", serialize_value(plan))
            for entry in instance.all_logs(run.run_id):
                found += heard(f"event of {run.job_name}", serialize_value(entry) + entry.message)
        for record in caplog.records:
            found += heard("log", record.getMessage() + repr(vars(record)) + (record.exc_text or ""))
        output = capfd.readouterr()
        found += heard("stdout", output.out) + heard("stderr", output.err) + heard("log", caplog.text)
        found += heard_in_files(tmp_path)
        assert runs, "nothing ran, so nothing was checked"
        assert found == []

    return check


@pytest.mark.parametrize("fault", [
    Fault(kind="echo", times=None),
    Fault(kind="redirect", times=None),
    Fault(kind="html", times=None),
    Fault(kind="error_body", times=None),
    Fault(kind="status", status=401, code=10002, times=None),
    Fault(kind="status", status=403, code=1020, times=None),
    Fault(kind="status", status=429, retry_after=3600, times=None),
], ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_runs_that_coingecko_refuses(secret_world: World, silent: Silent, fault: Fault) -> None:
    """The live request and the history both meet it."""
    secret_world.simulator.add_fault(fault)
    yesterday = secret_world.days_ago(1)
    for result in (secret_world.tick(), secret_world.complete(yesterday, yesterday, ["BTC"])):
        assert not result.success
        error = failure_of(result).error
        assert error is None or heard("error", error.to_string()) == []
    silent()


def test_a_list_of_coins_that_repeats_the_key(secret_world: World, silent: Silent) -> None:
    secret_world.simulator.add_fault(Fault(kind="echo", path="/coins/list", times=None))
    assert not secret_world.execute_check("price_coverage", "coin_ids_are_listed").passed
    silent()


def test_prices_that_are_refused_row_by_row(secret_world: World, silent: Silent) -> None:
    for kind, coin in (("text_price", "bitcoin"), ("missing_coin", "ethereum"), ("negative_price", "solana")):
        secret_world.simulator.add_fault(Fault(kind=kind, coin=coin, path="/simple/price"))
    secret_world.tick()
    rows = secret_world.rows(tables.rejected_prices)
    assert len(rows) == 3 and heard("table", repr(rows)) == []
    silent()


@pytest.mark.parametrize("spoil", [
    "ALTER TABLE raw_prices ADD CHECK (price < 0)",
    "DROP TABLE raw_prices CASCADE",
    "DROP TABLE request_budgets",
    "DROP TABLE price_anomalies",
    "UPDATE market_pipeline_version SET version_num = '0000'",
    "UPDATE market_pipeline_version SET version_num = '9999'",
])
def test_runs_that_the_database_refuses(secret_world: World, silent: Silent, spoil: str) -> None:
    with secret_world.database.writing() as connection:
        connection.execute(text(spoil))
    yesterday = secret_world.days_ago(1)
    assert not secret_world.complete(yesterday, yesterday, ["BTC"]).success
    silent()


@pytest.mark.parametrize("job", ["tick", "complete_days", "account_requests"])
def test_runs_without_a_database(
    world_of: WorldOf, silent: Silent, caplog: pytest.LogCaptureFixture, job: str
) -> None:
    caplog.set_level(logging.DEBUG)
    url = make_url(f"postgresql+psycopg2://me:{PASSWORD_IN_URL}@127.0.0.1:9/prices")
    world = world_of(Database(url), coingecko_api_key=KEY)
    assert not world.run(job, world.today, world.today).success
    silent()


@pytest.fixture
def repeating_server() -> Iterator[int]:
    """The port of a server that asks for the password in clear text and complains of it in every spelling."""
    repeated = " or ".join(sorted(spellings(SPACED_PASSWORD))).encode()
    body = b"SFATAL\0C28P01\0Mnobody has the password " + repeated + b"\0\0"
    complaint = b"E" + (len(body) + 4).to_bytes(4, "big") + body

    def serve() -> None:
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


def test_a_database_that_repeats_the_password_in_every_spelling(
    world_of: WorldOf, silent: Silent, caplog: pytest.LogCaptureFixture, repeating_server: int
) -> None:
    caplog.set_level(logging.DEBUG)
    url = URL.create("postgresql+psycopg2", "me", SPACED_PASSWORD, "127.0.0.1", repeating_server, "prices")
    world = world_of(Database(url), coingecko_api_key=KEY)
    failure = failure_of(world.execute("account_requests"))
    assert "nobody has the password [hidden]" in failure.error_display_string
    silent()


def test_a_failure_in_the_middle_of_the_code_itself(
    secret_world: World, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracebacks show lines of code, never the values in them."""
    monkeypatch.setattr(CoinGeckoClient, "market_chart_range", lambda *args: 1 / 0)
    yesterday = secret_world.days_ago(1)
    result = secret_world.complete(yesterday, yesterday, ["BTC"])
    assert not result.success
    job = secret_world.defs.resolve_job_def("complete_days")
    with pytest.raises(ZeroDivisionError) as caught:
        job.execute_in_process(instance=secret_world.instance, tags=result.dagster_run.tags)
    assert heard("error", words_of(caught.value)) == []
    silent()


@pytest.mark.parametrize("secret", [KEY, PASSWORD, PASSWORD_IN_URL])
def test_the_check_itself_hears_a_secret(secret_world: World, silent: Silent, secret: str) -> None:
    result = secret_world.execute("account_requests")
    secret_world.instance.report_engine_event(f"connecting with {secret}", result.dagster_run)
    with pytest.raises(AssertionError, match="event of account_requests"):
        silent()
