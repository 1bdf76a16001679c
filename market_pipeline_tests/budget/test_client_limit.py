"""The limit of requests by client, shared by several workers; the test moves the clock where time matters."""

import threading
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import Table, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from market_pipeline.budget.client_limits import REQUESTS, WINDOW_SECONDS, ClientLimit
from market_pipeline.core.clock import to_microseconds
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import client_requests, request_budgets, request_ledger


class Time:
    """A database clock that the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)

    def __call__(self, connection: object) -> int:
        return to_microseconds(self.now)

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """A lower limit, so that tests reach it with fewer transactions."""
    monkeypatch.setattr("market_pipeline.budget.client_limits.REQUESTS", 5)
    return 5


def rows(database: Database, table: Table) -> int:
    with database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_a_hundred_requests_are_admitted_in_any_minute(database: Database, time: Time) -> None:
    limit = ClientLimit(database, clock=time)
    for _ in range(REQUESTS):
        assert limit.admit("10.0.0.1") == 0
        time.pass_by(0.1)
    assert limit.admit("10.0.0.1") == pytest.approx(WINDOW_SECONDS - 10)
    time.pass_by(WINDOW_SECONDS - 10)
    assert limit.admit("10.0.0.1") == 0
    assert limit.admit("10.0.0.1") == pytest.approx(0.1)


def test_clients_do_not_share_a_limit(sqlite_database: Database, time: Time, few: int) -> None:
    limit = ClientLimit(sqlite_database, clock=time)
    assert [limit.admit("10.0.0.1") for _ in range(few)] == [0] * few
    assert limit.admit("10.0.0.1") > 0
    assert limit.admit("10.0.0.2") == 0


def test_a_refused_request_does_not_count(sqlite_database: Database, time: Time, few: int) -> None:
    """Otherwise a client that retries would never be admitted again."""
    limit = ClientLimit(sqlite_database, clock=time)
    for _ in range(3 * few):
        limit.admit("10.0.0.1")
    time.pass_by(WINDOW_SECONDS)
    assert limit.admit("10.0.0.1") == 0


def test_a_clock_that_was_set_back_blocks_no_client(sqlite_database: Database, time: Time, few: int) -> None:
    limit = ClientLimit(sqlite_database, clock=time)
    for _ in range(few):
        limit.admit("10.0.0.1")
    time.pass_by(-86_400)
    assert limit.admit("10.0.0.1") == 0


def test_several_workers_admit_together_what_one_may(database: Database) -> None:
    """Real connections and the real clock: each worker has its own limit over its own connections."""
    workers = [Database(database.url) for _ in range(4)]
    admitted: list[bool] = []

    def ask(worker: Database) -> None:
        limit = ClientLimit(worker)
        admitted.extend(limit.admit("10.0.0.1") == 0 for _ in range(40))
        worker.dispose()

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 160 and sum(admitted) == REQUESTS


def test_requests_that_left_the_window_are_deleted(database: Database, time: Time) -> None:
    limit = ClientLimit(database, clock=time)
    for client in ("10.0.0.1", "10.0.0.2"):
        limit.admit(client)
    time.pass_by(WINDOW_SECONDS / 2)
    limit.admit("10.0.0.2")
    assert rows(database, client_requests) == 3
    time.pass_by(WINDOW_SECONDS / 2)
    limit.admit("10.0.0.3")
    with database.reading() as connection:
        assert set(connection.execute(select(client_requests.c.client)).scalars()) == {"10.0.0.2", "10.0.0.3"}


def test_neither_the_budgets_nor_the_ledger_know_of_clients(sqlite_database: Database) -> None:
    ClientLimit(sqlite_database).admit("10.0.0.1")
    assert rows(sqlite_database, request_ledger) == rows(sqlite_database, request_budgets) == 0


@pytest.mark.parametrize("client", ["::1", "fe80::1%eth0", "", "a\0b", "\udcff\u20ac" * 100, "x" * 10_000, "' OR 1"])
def test_any_name_that_a_proxy_reports_has_a_window(database: Database, time: Time, client: str, few: int) -> None:
    limit = ClientLimit(database, clock=time)
    assert [limit.admit(client) for _ in range(few)] == [0] * few
    assert limit.admit(client) > 0


def test_a_database_that_fails_raises(sqlite_database: Database) -> None:
    with sqlite_database.writing() as connection:
        connection.execute(text("DROP TABLE client_requests"))
    with pytest.raises((StorageError, SQLAlchemyError)):
        ClientLimit(sqlite_database).admit("10.0.0.1")
