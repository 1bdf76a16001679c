"""A PostgreSQL server that accepts what it is sent and answers nothing is given up, by either driver."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest
from psycopg2.extensions import parse_dsn
from sqlalchemy import make_url, text

from market_pipeline.core.slices import Slice
from market_pipeline.settings import load_settings
from market_pipeline.storage import postgresql
from market_pipeline.storage.db_errors import DatabaseUnavailable, ReadCancelled
from market_pipeline.storage.engine import Database
from market_pipeline.storage.postgresql import dsn_of
from market_pipeline.storage.rows import bulk_postgresql, write
from market_pipeline.storage.rows.read import read_columns, read_many_columns
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import price_row, prices_of, wait_for
from market_pipeline_tests.storage.relay import Relay

DAYS = [Slice("BTC", date(2024, 3, 1), date(2024, 3, 1))]
Read = Callable[..., Any]
Relayed = Callable[..., tuple[Relay, Database]]
both_drivers = pytest.mark.parametrize("read", [read_columns, read_many_columns])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are given up after half a second instead of several."""
    for name, seconds in (("_QUIET_SECONDS", 0.3), ("_PROBE_SECONDS", 0.5), ("_SWEEP_SECONDS", 0.1)):
        monkeypatch.setattr(postgresql, name, seconds)


@pytest.fixture
def relayed(postgres_database: Database, impatient: None) -> Iterator[Relayed]:
    """`relayed(silent_at)`: a relay to a real server, and the database behind it."""
    opened: list[Callable[[], None]] = []

    def make(silent_at: bytes | None = None) -> tuple[Relay, Database]:
        relay = Relay(postgres_database.url, silent_at)
        database = Database(relay.url)
        opened.extend((database.dispose, relay.close))
        return relay, database

    yield make
    for close in opened:
        close()


@pytest.mark.parametrize("query", ["", "connect_timeout=2&application_name=mine"])
@pytest.mark.parametrize("address", [
    "postgresql://u:a%20b%27c%5C%40%2F%25%2Bd@h/db",
    "postgresql://u:p@h/db?options=-c%20search_path%3Dmarket",
    "postgresql://u:p@/db?host=h1:5432&host=h2:5433",
    "postgresql://u:p@/db?host=/var/run/a%20folder",
    "postgresql://u@h:6543/my%20db?sslmode=require",
    "postgresql://h",
])
def test_both_drivers_are_given_the_same_parameters(address: str, query: str) -> None:
    url = load_settings(None, database_url=f"{address}{'&' if '?' in address else '?'}{query}".rstrip("?&")).database
    _, wanted = url.get_dialect()().create_connect_args(url)
    found = parse_dsn(dsn_of(url))
    assert {name: found[name] for name in wanted} == {name: str(value) for name, value in wanted.items()}
    assert set(found) - set(wanted) <= {
        "application_name", "connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count",
        "tcp_user_timeout",
    }


@both_drivers
def test_a_space_in_password_and_options_reaches_the_server(postgres_database: Database, read: Read) -> None:
    options = {"options": "-c search_path=public -c application_name=two\\ words"}
    database = Database(postgres_database.url.set(password="correct horse! +%'\\").update_query_dict(options))
    assert len(read(database, raw_prices, DAYS)) == 0
    database.dispose()


def test_a_server_that_never_answers_a_new_connection_is_given_up() -> None:
    """At the same time by both drivers: libpq waits for two seconds at least."""
    errors: list[str] = []

    def attempt(read: Read, port: int) -> None:
        database = Database(make_url(f"postgresql+psycopg2://u:p@127.0.0.1:{port}/x?connect_timeout=2"))
        with pytest.raises(DatabaseUnavailable) as caught:
            read(database, raw_prices, DAYS)
        errors.append(str(caught.value))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        threads = [threading.Thread(target=attempt, args=(r, port)) for r in (read_columns, read_many_columns)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(errors) == 2 and all("timeout expired" in error for error in errors)


@pytest.mark.parametrize(("read", "silent_at"), [(read_columns, b"FROM raw_prices"), (read_many_columns, b"COPY")])
def test_a_server_that_falls_silent_at_a_query_is_given_up(relayed: Relayed, read: Read, silent_at: bytes) -> None:
    _, database = relayed(silent_at)
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        read(database, raw_prices, DAYS)


def test_a_write_that_was_given_up_is_not_committed_later(
    relayed: Relayed, postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller may have written something else since."""
    monkeypatch.setattr(write, "BULK_FROM", 0)
    relay, database = relayed(b"DROP TABLE market_pipeline_stage")
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        write.upsert(database, raw_prices, prices_of(price_row()))
    (left_behind,) = (thread for thread in threading.enumerate() if thread.name == "bulk")
    relay.silent.clear()
    left_behind.join(60)
    assert not left_behind.is_alive() and len(read_columns(postgres_database, raw_prices, DAYS)) == 0


def test_a_pooled_connection_to_a_silent_server_is_given_up_once(relayed: Relayed) -> None:
    relay, database = relayed()
    read_columns(database, raw_prices, DAYS)
    relay.silent.set()
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        read_columns(database, raw_prices, DAYS)
    assert time.monotonic() - started < 3, "the pool did not wait for a new connection as well"


def test_an_answer_that_was_lost_is_not_waited_for(relayed: Relayed) -> None:
    """The server answers others, and does nothing for the session that waits."""
    relay, database = relayed()

    def read_while_it_turns_deaf() -> None:
        with database.reading() as connection:
            connection.execute(text("SELECT 1"))
            relay.deaf.set()
            connection.execute(text("SELECT 2"))

    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        read_while_it_turns_deaf()
    assert len(read_columns(database, raw_prices, DAYS)) == 0


def test_a_long_query_is_waited_for(postgres_database: Database, impatient: None) -> None:
    with postgres_database.reading() as connection:
        assert connection.execute(text("SELECT pg_sleep(1)")).rowcount == 1


@pytest.mark.parametrize("seconds", [0, 0.3])
def test_a_cancelled_read_ends_at_once_and_its_query_too(postgres_database: Database, seconds: float) -> None:
    """Also one that has not begun yet."""
    cancelled = threading.Event()
    threading.Timer(seconds, cancelled.set).start()
    statement: Any = text("SELECT pg_sleep(60)")
    with pytest.raises(ReadCancelled):
        bulk_postgresql.fetch(postgres_database, [statement], cancelled)
    query = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
                 " AND state = 'active'")

    def ended() -> bool:
        with postgres_database.reading() as connection:
            return not connection.execute(query).scalar()

    wait_for(ended, 60, "the end of the query")
    for thread in threading.enumerate():
        if thread.name.startswith("bulk"):
            thread.join(10)
