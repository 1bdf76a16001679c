"""How often one client may ask, by several workers at once, in a time that the test moves where time matters."""

import threading
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from market_pipeline.budget.client_limits import REQUESTS, WINDOW_SECONDS, ClientLimit
from market_pipeline.budget.plan_limits import Account, Limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.core.clock import to_microseconds
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import request_budgets, request_ledger


class Time:
    """A database's clock that moves when it is told to."""

    def __init__(self):
        self.now = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)

    def __call__(self, connection):
        return to_microseconds(self.now)

    def pass_by(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def time():
    return Time()


def rows(database, table):
    with database.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_hundred_are_admitted_in_any_minute_and_each_that_grows_old_makes_room_for_one(database, time):
    limit = ClientLimit(database, clock=time)
    for _ in range(REQUESTS):
        assert limit.admit("10.0.0.1") == 0
        time.pass_by(0.1)
    assert limit.admit("10.0.0.1") == pytest.approx(WINDOW_SECONDS - 10)
    time.pass_by(WINDOW_SECONDS - 10)
    assert limit.admit("10.0.0.1") == 0
    assert limit.admit("10.0.0.1") == pytest.approx(0.1)


def test_clients_do_not_share_a_limit(sqlite_database, time):
    limit = ClientLimit(sqlite_database, clock=time)
    assert [limit.admit("10.0.0.1") for _ in range(REQUESTS)] == [0] * REQUESTS
    assert limit.admit("10.0.0.1") > 0
    assert limit.admit("10.0.0.2") == 0


def test_what_is_refused_does_not_count(sqlite_database, time):
    """Else whoever keeps asking would never be admitted again."""
    limit = ClientLimit(sqlite_database, clock=time)
    for _ in range(3 * REQUESTS):
        limit.admit("10.0.0.1")
    time.pass_by(WINDOW_SECONDS)
    assert limit.admit("10.0.0.1") == 0


def test_a_clock_that_was_set_back_keeps_nobody_out_for_longer_than_a_minute(sqlite_database, time):
    limit = ClientLimit(sqlite_database, clock=time)
    for _ in range(REQUESTS):
        limit.admit("10.0.0.1")
    time.pass_by(-86_400)
    assert 0 < limit.admit("10.0.0.1") <= WINDOW_SECONDS


def test_several_workers_admit_together_what_one_may(database):
    """Real connections and the real clock: each worker has its own limit over its own connections."""
    workers = [Database(database.url) for _ in range(4)]
    admitted = []

    def ask(worker):
        limit = ClientLimit(worker)
        admitted.extend(limit.admit("10.0.0.1") == 0 for _ in range(40))
        worker.dispose()

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 160 and sum(admitted) == REQUESTS


def test_clients_of_yesterday_are_forgotten_and_budgets_are_not(database, time):
    budget = SharedBudget(database, Account("demo", "api.example"), Limits(30, None), clock=time)
    budget.acquire("/ping")
    limit = ClientLimit(database, clock=time)
    for client in ("10.0.0.1", "10.0.0.2"):
        limit.admit(client)
    time.pass_by(86_000)
    limit.admit("10.0.0.2")
    assert rows(database, request_budgets) == 3
    time.pass_by(3_700)
    limit.admit("10.0.0.3")
    with database.reading() as connection:
        names = connection.execute(select(request_budgets.c.account)).scalars()
        assert set(names) == {"demo@api.example", "client 10.0.0.2", "client 10.0.0.3"}


def test_nothing_is_entered_into_the_ledger_of_requests(sqlite_database):
    ClientLimit(sqlite_database).admit("10.0.0.1")
    assert rows(sqlite_database, request_ledger) == 0


@pytest.mark.parametrize("client", ["::1", "fe80::1%eth0", "", "a\0b", "\udcff\u20ac" * 100, "x" * 10_000, "' OR 1"])
def test_whatever_a_proxy_calls_its_client_has_a_window(database, time, client):
    limit = ClientLimit(database, clock=time)
    assert [limit.admit(client) for _ in range(REQUESTS)] == [0] * REQUESTS
    assert limit.admit(client) > 0


def test_a_database_that_fails_is_said_so(sqlite_database):
    with sqlite_database.writing() as connection:
        connection.execute(text("DROP TABLE request_budgets"))
    with pytest.raises((StorageError, SQLAlchemyError)):
        ClientLimit(sqlite_database).admit("10.0.0.1")
