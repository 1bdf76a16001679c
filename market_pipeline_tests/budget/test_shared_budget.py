"""`SharedBudget` on SQLite and PostgreSQL, in a time that only sleeping moves where time matters."""

import logging
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import make_url, select, text, update

from market_pipeline.budget import records
from market_pipeline.budget.ledger import LedgerRow, requests_by_hour
from market_pipeline.budget.plan_limits import Account, Limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.budget.status import read_status
from market_pipeline.coingecko.errors import BudgetExhausted
from market_pipeline.coingecko.request_budget import NO_ANSWER, NOT_SENT, RequestBudget
from market_pipeline.core.clock import to_microseconds, utc_now
from market_pipeline.storage.database_clock import database_clock
from market_pipeline.storage.db_errors import DatabaseUnavailable, WriteFailed
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import request_budgets, request_ledger

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
HISTORY = "/coins/bitcoin/market_chart/range"
LIVE = "/simple/price"


class World:
    """Budgets on one database whose clock moves when somebody sleeps, and when a test says so."""

    def __init__(self, database):
        self.database = database
        self.now = NOON
        self.slept = []
        self.account = Account("demo", "api.example", "0123456789ab")

    def budget(self, per_minute=30, credits=None, *, account=None, sleep=None, **options):
        return SharedBudget(
            self.database,
            account or self.account,
            Limits(per_minute, credits),
            sleep=sleep or self.sleep,
            clock=self.clock,
            **options,
        )

    def clock(self, connection):
        return to_microseconds(self.now)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)

    def status(self, per_minute=30, credits=None, reserve=0):
        return read_status(
            self.database, self.account, Limits(per_minute, credits), reserve, clock=self.clock
        )

    def ledger(self):
        rows = requests_by_hour(self.database, NOON - timedelta(days=40))
        return {(row.endpoint, row.outcome): (row.requests, row.credits) for row in rows}


@pytest.fixture
def world(database):
    return World(database)


def use(budget: RequestBudget, endpoint=LIVE, times=1):
    for _ in range(times):
        budget.settle(budget.acquire(endpoint), "200")


def test_the_databases_clock_tells_utc_whatever_the_zone_of_its_session(database):
    """Compared with this machine's clock, on which both databases of these tests run."""
    with database.writing() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SET timezone = 'Asia/Kolkata'"))
        before = to_microseconds(utc_now())
        told = database_clock(connection)
        after = to_microseconds(utc_now())
    assert before - 1_000 <= told <= after + 1_000


def test_requests_within_the_limit_go_at_once_and_the_next_waits_for_the_window(world):
    budget = world.budget(3)
    assert budget.acquire(LIVE).waited == 0
    use(budget, times=2)
    assert sum(world.slept) == pytest.approx(0.2, abs=0.01)
    grant = budget.acquire(LIVE)
    assert grant.granted_at - NOON == pytest.approx(timedelta(seconds=61), abs=timedelta(milliseconds=20))
    assert grant.waited == pytest.approx(61 - 0.2, abs=0.1)


def test_two_budgets_of_one_account_share_the_limit_and_another_account_has_its_own(world):
    use(world.budget(2), times=2)
    other = Account("demo", "api.example", "ba9876543210")
    assert world.budget(2, account=other).acquire(LIVE).waited == 0
    assert world.budget(2).acquire(LIVE).waited > 60


def test_a_wait_is_announced_with_its_length_and_reason(world, caplog):
    caplog.set_level(logging.INFO, "market_pipeline.budget")
    use(world.budget(1))
    world.budget(1).acquire("/ping")
    assert caplog.messages == [
        "Waiting 61.0 s before GET /ping: 1 requests a minute are the limit of demo@api.example#0123456789ab"
    ]
    assert caplog.records[0].__dict__["wait_seconds"] == 61.0


def test_who_would_wait_too_long_is_told_so_at_once_with_the_numbers(world):
    budget = world.budget(5, max_wait=60)
    use(budget, times=5)
    slept = len(world.slept)
    with pytest.raises(BudgetExhausted) as caught:
        budget.acquire(LIVE)
    assert len(world.slept) == slept
    assert caught.value.retry_after == pytest.approx(60.6, abs=0.1)
    message = str(caught.value)
    assert message.startswith("GET /simple/price was not sent: its turn would come in 61 s, at 2026-11-23 12")
    assert "60 s is the longest wait: 5 requests a minute are the limit" in message
    assert world.status(5).waiting == 0


def test_a_pause_asked_of_one_binds_the_others_and_those_that_come_later(world, caplog):
    caplog.set_level(logging.INFO, "market_pipeline.budget")
    first = world.budget()
    first.settle(first.acquire(LIVE), "429", 20.0, "GET /simple/price answered 429")
    later = World(Database(world.database.url))
    later.now = world.now
    grant = later.budget().acquire("/ping")
    later.database.dispose()
    assert grant.granted_at >= NOON + timedelta(seconds=20)
    assert caplog.messages == [
        "Waiting 20.0 s before GET /ping: no requests before 2026-11-23 12:00:20 UTC "
        "(GET /simple/price answered 429)"
    ]


def test_a_pause_beyond_all_calendars_is_one_of_an_hour(world):
    """After which one request is sent, and what the server says then holds."""
    budget = world.budget()
    budget.settle(budget.acquire(LIVE), "429", 1e12, "asked")
    assert world.status().cool_down_until == world.now + timedelta(hours=1)


def test_a_pause_that_comes_while_somebody_waits_prolongs_the_wait(world, caplog):
    caplog.set_level(logging.INFO, "market_pipeline.budget")
    other = world.budget(1)
    grant = other.acquire(LIVE)

    def sleep(seconds):
        if not world.slept:
            other.settle(grant, "429", 100.0, "asked")
        world.sleep(seconds)

    assert world.budget(1, sleep=sleep).acquire(LIVE).waited == pytest.approx(100, abs=0.1)
    assert [message[:16] for message in caplog.messages] == ["Waiting 61.0 s b", "Waiting 95.0 s b"]


def test_a_wait_that_becomes_too_long_ends_and_leaves_the_queue(world):
    other = world.budget(1)
    grant = other.acquire(LIVE)

    def sleep(seconds):
        other.settle(grant, "429", 3_600.0, "asked")
        world.sleep(seconds)

    with pytest.raises(BudgetExhausted) as caught:
        world.budget(1, sleep=sleep).acquire(LIVE)
    message = str(caught.value)
    assert "in 3595 s after 5 s of waiting, at 2026-11-23 13:00:00 UTC, and 300 s is the longest" in message
    assert message.endswith("no requests before 2026-11-23 13:00:00 UTC (asked). Try again then.")
    assert world.status(1).waiting == 0


def test_whoever_was_stopped_past_its_turn_waits_no_longer_than_agreed_in_all(world):
    """Its place is gone then, and with a new wait it would be late twice."""
    use(world.budget(1))

    def stopped(seconds):
        world.now += timedelta(seconds=100)
        use(world.budget(1))

    with pytest.raises(BudgetExhausted, match="in 61 s after 100 s of waiting.* 120 s is the longest wait"):
        world.budget(1, sleep=stopped, max_wait=120).acquire(LIVE)


def test_an_interrupted_wait_leaves_the_queue(world):
    use(world.budget(1))
    waiting = []

    def interrupt(seconds):
        waiting.append(world.status(1).waiting)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.budget(1, sleep=interrupt).acquire(LIVE)
    assert waiting == [1]
    assert world.status(1).waiting == 0


def test_the_ledger_counts_every_request_and_charges_those_that_may_have_been_answered(world):
    """A request that is under way, or whose process died, keeps the credit that was reserved for it."""
    budget = world.budget(credits=100)
    use(budget, HISTORY, times=2)
    budget.settle(budget.acquire("/coins/pepe/market_chart/range"), "429")
    budget.settle(budget.acquire(LIVE), NO_ANSWER)
    budget.settle(budget.acquire(LIVE), NOT_SENT)
    budget.acquire(LIVE)
    assert world.ledger() == {
        ("/coins/{id}/market_chart/range", "200"): (2, 2),
        ("/coins/{id}/market_chart/range", "429"): (1, 0),
        (LIVE, "no answer"): (1, 1),
        (LIVE, "not sent"): (1, 0),
        (LIVE, "not told"): (1, 1),
    }
    status = world.status(credits=100)
    assert (status.credits_used, status.left_this_minute) == (4, 30 - 6)


def test_a_credit_is_given_back_to_the_month_that_it_was_taken_from(world):
    world.now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=timezone.utc)
    budget = world.budget(credits=5)
    grant = budget.acquire(LIVE)
    world.now += timedelta(seconds=2)
    use(budget)
    budget.settle(grant, NOT_SENT)
    assert world.status(credits=5).credits_used == 1
    world.now -= timedelta(seconds=10)
    assert world.status(credits=5).credits_used == 0


def test_the_ledger_is_told_by_hour_and_account(world):
    use(world.budget())
    world.now = NOON + timedelta(minutes=61)
    use(world.budget())
    other = Account("keyless", "api.example")
    use(world.budget(account=other))
    rows = requests_by_hour(world.database, NOON, world.account.name)
    name = "demo@api.example#0123456789ab"
    assert rows == [
        LedgerRow(hour, name, LIVE, "200", "demo", 1, 0) for hour in (NOON, NOON + timedelta(hours=1))
    ]
    assert len(requests_by_hour(world.database, NOON + timedelta(minutes=70))) == 2


def test_history_stops_at_the_reserve_and_live_requests_at_the_last_credit(world):
    budget = world.budget(credits=5, live_reserve=lambda now: 2 if now == world.now else 99)
    use(budget, HISTORY, times=3)
    with pytest.raises(BudgetExhausted) as caught:
        budget.acquire(HISTORY)
    assert str(caught.value) == (
        "GET /coins/bitcoin/market_chart/range was not sent: 3 of the 5 credits of this month of "
        "demo@api.example#0123456789ab are used, 2 are left; 2 are kept for the live requests of the rest of "
        "the month. They renew on 2026-12-01 00:00 UTC; COINGECKO_MONTHLY_CREDITS sets the cap."
    )
    until = datetime(2026, 12, 1, tzinfo=timezone.utc) - world.now
    assert caught.value.retry_after == until.total_seconds()
    use(budget, LIVE, times=2)
    with pytest.raises(BudgetExhausted, match="5 of the 5 credits.* 0 are left. They renew"):
        budget.acquire(LIVE)


def test_credits_renew_with_the_utc_month_and_are_remembered_when_the_clock_goes_back(world):
    use(world.budget(credits=5), times=5)
    world.now = datetime(2026, 12, 1, tzinfo=timezone.utc)
    use(world.budget(credits=5))
    assert world.status(credits=5).credits_left == 4
    world.now = datetime(2026, 11, 30, 23, 59, tzinfo=timezone.utc)
    assert world.status(credits=5).credits_left == 0
    with pytest.raises(BudgetExhausted):
        world.budget(credits=5).acquire(LIVE)


def test_a_plan_without_a_cap_spends_no_credits(world):
    use(world.budget(), HISTORY, times=3)
    assert world.status().credits_used == 0
    assert world.status().credits_left is None


def test_the_status_tells_what_is_left_and_changes_nothing(world):
    untouched = world.status(4, credits=10, reserve=3)
    assert (untouched.left_this_minute, untouched.credits_left, untouched.reserve) == (4, 10, 3)
    assert (untouched.cool_down_until, untouched.now) == (None, NOON)
    budget = world.budget(4, credits=10)
    use(budget)
    budget.settle(budget.acquire(LIVE), "429", 30.0, "asked")
    before = _rows(world)
    status = world.status(4, credits=10)
    assert (status.requests_per_minute, status.left_this_minute, status.waiting) == (4, 2, 0)
    assert status.cool_down_until == world.now + timedelta(seconds=30)
    assert (status.cool_down_reason, status.credits_used) == ("asked", 1)
    assert status.renews_at == datetime(2026, 12, 1, tzinfo=timezone.utc)
    assert _rows(world) == before
    world.now += timedelta(seconds=31)
    assert (world.status(4).cool_down_until, world.status(4).cool_down_reason) == (None, "")


def test_a_long_request_keeps_its_place_in_the_window_from_its_end(world):
    budget = world.budget(1)
    grant = budget.acquire(LIVE)
    world.now += timedelta(seconds=30)
    budget.settle(grant, "200")
    assert world.budget(1).acquire(LIVE).granted_at >= NOON + timedelta(seconds=90)


def test_a_broken_database_loses_no_answer(world, caplog):
    """The outcome of a request is told after its answer came."""
    grant = world.budget().acquire(LIVE)
    with world.database.writing() as connection:
        connection.execute(text("DROP TABLE request_ledger"))
    world.budget().settle(grant, "200")
    assert "could not be entered into the request budget" in caplog.text


def test_a_database_out_of_reach_grants_nothing(tmp_path, caplog):
    database = Database(make_url(f"sqlite:///{tmp_path / 'nowhere' / 'prices.db'}"))
    with pytest.raises(DatabaseUnavailable, match="does not exist"):
        SharedBudget(database, Account("keyless", "h"), Limits(5, None)).acquire(LIVE)


def test_a_database_that_fails_during_a_wait_is_what_is_reported(world):
    """And not that the place in the queue could not be given up."""
    use(world.budget(1))

    def sleep(seconds):
        world.sleep(seconds)
        with world.database.writing() as connection:
            connection.execute(text("DROP TABLE request_budgets"))

    with pytest.raises(WriteFailed, match="request_budgets: .*Nothing was written"):
        world.budget(1, sleep=sleep).acquire(LIVE)


def test_the_clock_is_read_once_the_lock_is_had(database):
    """A grant would count as older than it is otherwise, and its place in the window be used too early."""
    budget = SharedBudget(database, Account("keyless", "h"), Limits(4, None))
    budget.acquire(LIVE)
    time.sleep(0.2)
    grants = []
    asking = threading.Thread(target=lambda: grants.append(budget.acquire(LIVE)))
    with database.writing() as connection:
        records.load_for_update(connection, "keyless@h")
        asking.start()
        time.sleep(0.5)
        released = utc_now()
    asking.join()
    assert grants[0].granted_at >= released - timedelta(milliseconds=10)


def test_a_holder_that_stops_in_the_middle_holds_up_nobody_for_long(postgres_database, monkeypatch):
    """Such as a process that is suspended, or one on a host that is gone: its connection seems alive."""
    monkeypatch.setattr(records, "HOLDER_SECONDS", 1)
    account = Account("keyless", "h")
    with pytest.raises(DatabaseUnavailable, match="terminat"), postgres_database.writing() as stopped:
        records.load_for_update(stopped, account.name)
        assert SharedBudget(postgres_database, account, Limits(4, None)).acquire(LIVE).waited == 0
        stopped.execute(select(request_budgets))


def test_a_lock_that_cannot_be_had_is_an_error_that_says_so(postgres_database, monkeypatch):
    monkeypatch.setattr(records, "PATIENCE_SECONDS", 1)
    account = Account("keyless", "h")
    budget = SharedBudget(postgres_database, account, Limits(4, None))
    budget.acquire(LIVE)
    with postgres_database.writing() as connection:
        connection.execute(text("LOCK TABLE request_budgets"))
        with pytest.raises(WriteFailed, match="request_budgets: .*lock timeout"):
            budget.acquire(LIVE)


def test_threads_that_share_a_budget_stay_within_it_together(database):
    """With the real clock: four requests are allowed, eight are asked for, none waits its minute."""
    budget = SharedBudget(database, Account("keyless", "h"), Limits(4, None), max_wait=5.0)
    outcomes = []

    def ask():
        try:
            budget.settle(budget.acquire(LIVE), "200")
            outcomes.append("granted")
        except BudgetExhausted:
            outcomes.append("exhausted")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["exhausted"] * 4 + ["granted"] * 4


def test_credits_that_threads_give_back_can_be_used_again(database):
    account, limits = Account("demo", "h", "0123456789ab"), Limits(6_000, 20)
    budget = SharedBudget(database, account, limits, max_wait=30.0)

    def ask(outcomes):
        for outcome in outcomes:
            budget.settle(budget.acquire(LIVE), outcome)

    threads = [threading.Thread(target=ask, args=([NOT_SENT, "200", "503"] * 2,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = {row.outcome: row for row in requests_by_hour(database, utc_now() - timedelta(hours=1))}
    assert {outcome: row.credits for outcome, row in rows.items()} == {NOT_SENT: 0, "200": 12, "503": 0}
    assert read_status(database, account, limits, 0).credits_used == 12


def test_nothing_is_locked_while_somebody_waits(world):
    use(world.budget(1))

    def sleep(seconds):
        with world.database.writing() as connection:
            connection.execute(update(request_budgets).values(cool_down_reason="written meanwhile"))
        world.sleep(seconds)

    assert world.budget(1, sleep=sleep).acquire(LIVE).waited > 60


def _rows(world):
    with world.database.reading() as connection:
        return [connection.execute(select(table)).all() for table in (request_budgets, request_ledger)]
