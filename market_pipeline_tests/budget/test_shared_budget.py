"""`SharedBudget` in a time that only sleeping moves; on both databases where their SQL or locks differ."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, make_url, select, text, update

from market_pipeline.budget import records
from market_pipeline.budget.ledger import LedgerRow, requests_by_hour
from market_pipeline.budget.plan_limits import Account, Limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.budget.status import BudgetStatus, read_status, status_sentence
from market_pipeline.coingecko.errors import BudgetExhausted
from market_pipeline.coingecko.request_budget import NO_ANSWER, NOT_SENT
from market_pipeline.core.clock import to_microseconds, utc_now
from market_pipeline.storage.database_clock import database_clock
from market_pipeline.storage.db_errors import DatabaseUnavailable, WriteFailed
from market_pipeline.storage.engine import POOL, Database
from market_pipeline.storage.schema.operations_tables import request_budgets, request_ledger
from market_pipeline_tests.builders import check_sentences, wait_for

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
HISTORY = "/coins/bitcoin/market_chart/range"
LIVE = "/simple/price"


class World:
    """Budgets on one database whose clock moves when a caller sleeps or a test moves it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOON
        self.slept: list[float] = []
        self.account = Account("demo", "api.example", "0123456789ab")

    def budget(
        self,
        per_minute: int = 30,
        credits: int | None = None,
        *,
        account: Account | None = None,
        sleep: Callable[[float], None] | None = None,
        **options: Any,
    ) -> SharedBudget:
        return SharedBudget(
            self.database,
            account or self.account,
            Limits(per_minute, credits),
            sleep=sleep or self.sleep,
            clock=self.clock,
            **options,
        )

    def clock(self, now: int) -> int:
        return to_microseconds(self.now)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)

    def status(self, per_minute: int = 30, credits: int | None = None, reserve: int = 0) -> BudgetStatus:
        return read_status(self.database, self.account, Limits(per_minute, credits), reserve, clock=self.clock)


@pytest.fixture
def world(sqlite_database: Database) -> World:
    return World(sqlite_database)


@pytest.fixture
def either_world(database: Database) -> World:
    return World(database)


def use(budget: SharedBudget, endpoint: str = LIVE, times: int = 1) -> None:
    for _ in range(times):
        budget.settle(budget.acquire(endpoint), "200")


def in_threads(number: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_the_databases_clock_is_utc_in_any_zone_of_its_session(database: Database) -> None:
    """Compared with this machine's clock, on which both databases of these tests run."""
    use(SharedBudget(database, Account("keyless", "h"), Limits(4, None)))
    with database.writing() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SET timezone = 'Asia/Kolkata'"))
        before = to_microseconds(utc_now())
        times = [database_clock(connection), records.load_for_update(connection, "keyless@h")[1]]
        after = to_microseconds(utc_now())
    assert all(before - 1_000 <= moment <= after + 1_000 for moment in times)


def test_requests_within_the_limit_go_at_once_and_the_next_waits_for_the_window(either_world: World) -> None:
    budget = either_world.budget(3)
    assert budget.acquire(LIVE).waited == 0
    use(budget, times=2)
    assert sum(either_world.slept) == pytest.approx(0.2, abs=0.01)
    grant = budget.acquire(LIVE)
    assert grant.granted_at - NOON == pytest.approx(timedelta(seconds=61), abs=timedelta(milliseconds=20))
    assert grant.waited == pytest.approx(61 - 0.2, abs=0.1)


def test_two_budgets_of_one_account_share_the_limit_and_another_account_has_its_own(world: World) -> None:
    use(world.budget(2), times=2)
    other = Account("demo", "api.example", "ba9876543210")
    assert world.budget(2, account=other).acquire(LIVE).waited == 0
    assert world.budget(2).acquire(LIVE).waited > 60


def test_a_live_request_costs_six_statements_and_their_transactions(
    either_world: World, request: pytest.FixtureRequest
) -> None:
    """They count on a remote database, where each is a round trip."""
    use(either_world.budget())
    either_world.now += timedelta(seconds=1)
    statements: list[str] = []

    def count(connection: object, cursor: object, statement: str, *others: object) -> None:
        if not statement.startswith("BEGIN"):
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", count)
    request.addfinalizer(lambda: event.remove(Engine, "before_cursor_execute", count))
    use(either_world.budget())
    assert len(statements) <= 6, statements


def test_who_would_wait_too_long_is_refused_at_once_with_the_numbers(world: World) -> None:
    budget = world.budget(5, max_wait=60)
    use(budget, times=5)
    slept = len(world.slept)
    with pytest.raises(BudgetExhausted) as caught:
        budget.acquire(LIVE)
    assert len(world.slept) == slept
    assert caught.value.retry_after == pytest.approx(60.6, abs=0.1)
    assert world.status(5).waiting == 0


def test_a_pause_for_one_process_binds_the_others_and_later_ones(either_world: World) -> None:
    first = either_world.budget()
    first.settle(first.acquire(LIVE), "429", 20.0, "GET /simple/price answered 429")
    later = World(Database(either_world.database.url))
    later.now = either_world.now
    grant = later.budget().acquire("/ping")
    later.database.dispose()
    assert grant.granted_at >= NOON + timedelta(seconds=20)


def test_a_pause_is_an_hour_at_most(world: World) -> None:
    """Then one request is sent, and what the server answers holds."""
    budget = world.budget()
    budget.settle(budget.acquire(LIVE), "429", 1e12, "requested")
    assert world.status().cool_down_until == world.now + timedelta(hours=1)


def test_a_pause_that_begins_during_a_wait_prolongs_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "market_pipeline.budget")
    other = world.budget(1)
    grant = other.acquire(LIVE)

    def sleep(seconds: float) -> None:
        if not world.slept:
            other.settle(grant, "429", 100.0, "requested")
        world.sleep(seconds)

    assert world.budget(1, sleep=sleep).acquire(LIVE).waited == pytest.approx(100, abs=0.1)
    assert [vars(record)["wait_seconds"] for record in caplog.records] == pytest.approx([61.0, 95.0], abs=0.1)


def test_a_wait_that_becomes_too_long_ends_and_leaves_the_queue(world: World) -> None:
    other = world.budget(1)
    grant = other.acquire(LIVE)

    def sleep(seconds: float) -> None:
        other.settle(grant, "429", 3_600.0, "requested")
        world.sleep(seconds)

    with pytest.raises(BudgetExhausted, match="in 3595 s after 5 s of waiting"):
        world.budget(1, sleep=sleep).acquire(LIVE)
    assert world.status(1).waiting == 0


def test_a_process_that_was_stopped_past_its_turn_waits_no_longer_in_all(world: World) -> None:
    """Its place is gone then, and with a new wait it would be late twice."""
    use(world.budget(1))

    def stopped(seconds: float) -> None:
        assert world.now < NOON + timedelta(seconds=1_000), "it waits forever"
        world.now += timedelta(seconds=100)
        use(world.budget(1))

    with pytest.raises(BudgetExhausted, match=r"in 61 s after 100 s of waiting.* 120 s is the longest wait"):
        world.budget(1, sleep=stopped, max_wait=120).acquire(LIVE)


def test_an_interrupted_wait_leaves_the_queue(world: World) -> None:
    use(world.budget(1))
    waiting = []

    def interrupt(seconds: float) -> None:
        waiting.append(world.status(1).waiting)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.budget(1, sleep=interrupt).acquire(LIVE)
    assert waiting == [1]
    assert world.status(1).waiting == 0


def test_the_ledger_counts_every_request_and_charges_those_that_may_have_been_answered(either_world: World) -> None:
    """A request that is under way, or whose process died, keeps the credit that was reserved for it."""
    budget = either_world.budget(credits=100)
    use(budget, HISTORY, times=2)
    budget.settle(budget.acquire("/coins/pepe/market_chart/range"), "429")
    budget.settle(budget.acquire(LIVE), NO_ANSWER)
    budget.settle(budget.acquire(LIVE), NOT_SENT)
    budget.acquire(LIVE)
    rows = requests_by_hour(either_world.database, NOON)
    assert {(row.endpoint, row.outcome): (row.requests, row.credits) for row in rows} == {
        ("/coins/{id}/market_chart/range", "200"): (2, 2),
        ("/coins/{id}/market_chart/range", "429"): (1, 0),
        (LIVE, "no answer"): (1, 1),
        (LIVE, "not sent"): (1, 0),
        (LIVE, "not told"): (1, 1),
    }
    status = either_world.status(credits=100)
    assert (status.credits_used, status.left_this_minute) == (4, 30 - 6)


def test_a_credit_is_returned_to_the_month_that_it_was_taken_from(world: World) -> None:
    world.now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=timezone.utc)
    budget = world.budget(credits=5)
    grant = budget.acquire(LIVE)
    world.now += timedelta(seconds=2)
    use(budget)
    budget.settle(grant, NOT_SENT)
    assert world.status(credits=5).credits_used == 1
    world.now -= timedelta(seconds=10)
    assert world.status(credits=5).credits_used == 0


def test_the_ledger_is_by_hour_and_account(either_world: World) -> None:
    use(either_world.budget())
    either_world.now = NOON + timedelta(minutes=61)
    use(either_world.budget())
    use(either_world.budget(account=Account("keyless", "api.example")))
    name = "demo@api.example#0123456789ab"
    assert requests_by_hour(either_world.database, NOON, either_world.account.name) == [
        LedgerRow(hour, name, LIVE, "200", "demo", 1, 0) for hour in (NOON, NOON + timedelta(hours=1))
    ]
    assert len(requests_by_hour(either_world.database, NOON + timedelta(minutes=70))) == 2


def test_history_stops_at_the_reserve_and_live_requests_at_the_last_credit(world: World) -> None:
    budget = world.budget(credits=5, live_reserve=lambda now: 2 if now == world.now else 99)
    use(budget, HISTORY, times=3)
    with pytest.raises(BudgetExhausted, match=r"3 of the 5 credits.* 2 are reserved") as caught:
        budget.acquire(HISTORY)
    until = datetime(2026, 12, 1, tzinfo=timezone.utc) - world.now
    assert caught.value.retry_after == until.total_seconds()
    use(budget, LIVE, times=2)
    with pytest.raises(BudgetExhausted, match=r"5 of the 5 credits.* 0 are left. They renew"):
        budget.acquire(LIVE)


def test_credits_renew_with_the_utc_month_and_are_remembered_when_the_clock_goes_back(either_world: World) -> None:
    use(either_world.budget(credits=5), times=5)
    either_world.now = datetime(2026, 12, 1, tzinfo=timezone.utc)
    use(either_world.budget(credits=5))
    assert either_world.status(credits=5).credits_left == 4
    either_world.now = datetime(2026, 11, 30, 23, 59, tzinfo=timezone.utc)
    assert either_world.status(credits=5).credits_left == 0
    with pytest.raises(BudgetExhausted):
        either_world.budget(credits=5).acquire(LIVE)


def test_a_plan_without_a_cap_spends_no_credits(world: World) -> None:
    use(world.budget(), HISTORY, times=3)
    assert (world.status().credits_used, world.status().credits_left) == (0, None)


def test_the_status_is_what_is_left_and_changes_nothing(either_world: World) -> None:
    world = either_world
    untouched = world.status(4, credits=10, reserve=3)
    assert (untouched.left_this_minute, untouched.credits_left, untouched.reserve) == (4, 10, 3)
    assert (untouched.cool_down_until, untouched.now) == (None, NOON)
    budget = world.budget(4, credits=10)
    use(budget)
    budget.settle(budget.acquire(LIVE), "429", 30.0, "requested")
    before = _rows(world)
    status = world.status(4, credits=10)
    assert (status.requests_per_minute, status.left_this_minute, status.waiting) == (4, 2, 0)
    assert status.cool_down_until == world.now + timedelta(seconds=30)
    assert (status.cool_down_reason, status.credits_used) == ("requested", 1)
    assert status.renews_at == datetime(2026, 12, 1, tzinfo=timezone.utc)
    assert _rows(world) == before
    world.now += timedelta(seconds=31)
    assert (world.status(4).cool_down_until, world.status(4).cool_down_reason) == (None, "")


def test_a_long_request_holds_its_place_in_the_window_from_its_end(world: World) -> None:
    budget = world.budget(1)
    grant = budget.acquire(LIVE)
    world.now += timedelta(seconds=30)
    budget.settle(grant, "200")
    assert world.budget(1).acquire(LIVE).granted_at >= NOON + timedelta(seconds=90)


def test_a_broken_database_loses_no_answer(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The outcome of a request is recorded after its answer came."""
    grant = world.budget().acquire(LIVE)
    with world.database.writing() as connection:
        connection.execute(text("DROP TABLE request_ledger"))
    world.budget().settle(grant, "200")
    assert "could not be recorded in the request budget" in caplog.text


def test_a_pool_without_a_free_connection_loses_no_answer(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when more threads than connections collect at once."""
    for name, value in (("pool_size", 1), ("pool_timeout", 0.1)):
        monkeypatch.setitem(POOL, name, value)
    world.database = Database(world.database.url)
    grant = world.budget().acquire(LIVE)
    with world.database.writing():
        world.budget().settle(grant, "200")
    world.database.dispose()
    assert "could not be recorded in the request budget" in caplog.text


def test_a_database_out_of_reach_grants_nothing(tmp_path: Path) -> None:
    database = Database(make_url(f"sqlite:///{tmp_path / 'nowhere' / 'prices.db'}"))
    with pytest.raises(DatabaseUnavailable, match="does not exist"):
        SharedBudget(database, Account("keyless", "h"), Limits(5, None)).acquire(LIVE)


def test_a_database_that_fails_during_a_wait_is_what_is_reported(world: World) -> None:
    """And not that the place in the queue could not be released."""
    use(world.budget(1))

    def sleep(seconds: float) -> None:
        world.sleep(seconds)
        with world.database.writing() as connection:
            connection.execute(text("DROP TABLE request_budgets"))

    with pytest.raises(WriteFailed, match=r"request_budgets: .*Nothing was written"):
        world.budget(1, sleep=sleep).acquire(LIVE)


def test_the_clock_is_read_once_the_lock_is_acquired(postgres_database: Database) -> None:
    """Otherwise a grant would count as older than it is, and its place in the window be reused too early."""
    budget = SharedBudget(postgres_database, Account("keyless", "h"), Limits(6_000, None))
    use(budget)
    grants = []
    requesting = threading.Thread(target=lambda: grants.append(budget.acquire(LIVE)))

    def is_waiting() -> bool:
        with postgres_database.reading() as connection:
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            return bool(connection.execute(waiting).scalar_one())

    with postgres_database.writing() as connection:
        records.load_for_update(connection, "keyless@h")
        requesting.start()
        wait_for(is_waiting, 20, "waiting for the lock")
        waited_at = utc_now()
    requesting.join()
    assert grants[0].granted_at >= waited_at


def test_a_holder_that_stops_in_the_middle_blocks_nobody_for_long(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a process that is suspended, or one on a host that is gone: its connection seems alive."""
    monkeypatch.setattr(records, "HOLDER_SECONDS", 1)
    account = Account("keyless", "h")

    def stop_in_the_middle() -> None:
        with postgres_database.writing() as stopped:
            records.load_for_update(stopped, account.name)
            assert SharedBudget(postgres_database, account, Limits(4, None)).acquire(LIVE).waited == 0
            stopped.execute(select(request_budgets))

    with pytest.raises(DatabaseUnavailable, match="terminat"):
        stop_in_the_middle()


def test_a_lock_that_cannot_be_acquired_is_an_error_that_says_so(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "PATIENCE_SECONDS", 1)
    budget = SharedBudget(postgres_database, Account("keyless", "h"), Limits(4, None))
    use(budget)
    with postgres_database.writing() as connection:
        connection.execute(text("LOCK TABLE request_budgets"))
        with pytest.raises(WriteFailed, match=r"request_budgets: .*lock timeout"):
            budget.acquire(LIVE)


def test_threads_that_share_a_budget_stay_within_it_together(database: Database) -> None:
    """With the real clock: four requests are allowed, eight are attempted, none waits its minute."""
    budget = SharedBudget(database, Account("keyless", "h"), Limits(4, None), max_wait=5.0)
    outcomes = []

    def request() -> None:
        try:
            use(budget)
            outcomes.append("granted")
        except BudgetExhausted:
            outcomes.append("exhausted")

    in_threads(8, request)
    assert sorted(outcomes) == ["exhausted"] * 4 + ["granted"] * 4


def test_credits_that_threads_return_can_be_used_again(database: Database) -> None:
    account, limits = Account("demo", "h", "0123456789ab"), Limits(6_000, 20)
    budget = SharedBudget(database, account, limits, max_wait=30.0)

    def request() -> None:
        for outcome in [NOT_SENT, "200", "503"] * 2:
            budget.settle(budget.acquire(LIVE), outcome)

    in_threads(6, request)
    rows = {row.outcome: row for row in requests_by_hour(database, utc_now() - timedelta(hours=1))}
    assert {outcome: row.credits for outcome, row in rows.items()} == {NOT_SENT: 0, "200": 12, "503": 0}
    assert read_status(database, account, limits, 0).credits_used == 12


def test_nothing_is_locked_during_a_wait(either_world: World) -> None:
    use(either_world.budget(1))

    def sleep(seconds: float) -> None:
        with either_world.database.writing() as connection:
            connection.execute(update(request_budgets).values(cool_down_reason="written meanwhile"))
        either_world.sleep(seconds)

    assert either_world.budget(1, sleep=sleep).acquire(LIVE).waited > 60


def test_the_sentences_of_the_budget(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What a person reads in logs, errors and reports."""
    caplog.set_level(logging.INFO, "market_pipeline.budget")
    errors = []

    def refused(budget: SharedBudget, endpoint: str = LIVE) -> None:
        with pytest.raises(BudgetExhausted) as caught:
            budget.acquire(endpoint)
        errors.append(str(caught.value))

    use(world.budget(1, credits=5))
    use(world.budget(1, credits=5), "/ping")
    refused(world.budget(1, max_wait=60))
    refused(world.budget(1, credits=4, live_reserve=lambda now: 2), HISTORY)
    refused(world.budget(1, credits=2))
    statuses = [status_sentence(world.status(3)), status_sentence(world.status(3, credits=5, reserve=1_000))]
    world.budget().settle(world.budget().acquire(LIVE), "429", 500.0, "GET /simple/price answered 429")
    refused(world.budget())
    statuses.append(status_sentence(world.status()))
    check_sentences(Path(__file__).with_name("sentences.txt"), [*caplog.messages, *errors, *statuses])


def _rows(world: World) -> list[Any]:
    with world.database.reading() as connection:
        return [connection.execute(select(table)).all() for table in (request_budgets, request_ledger)]
