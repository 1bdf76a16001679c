"""`SharedBudget`: one budget for every process, run and host that works on the same database."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from market_pipeline.budget import ledger, records, rules
from market_pipeline.budget.credits import is_charged, is_history, shortage
from market_pipeline.budget.plan_limits import Account, Limits
from market_pipeline.budget.rules import POLL, SECOND, State
from market_pipeline.coingecko.errors import BudgetExhausted
from market_pipeline.coingecko.request_budget import Grant
from market_pipeline.core.clock import from_microseconds, month_of, to_microseconds
from market_pipeline.core.wording import counted
from market_pipeline.logs import get_logger
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import request_budgets

logger = get_logger(__name__)

# Shorter waits only pace simultaneous requests and are not worth a line in the log.
_ANNOUNCED_FROM = 1.0
# A clock of whole milliseconds has reached the turn when the sleeper wakes.
_MILLISECOND = 0.001


@dataclass(frozen=True)
class _Wait:
    seconds: float
    reason: str
    paused: bool


@dataclass
class _Caller:
    """A caller of `acquire`: `began` is its first poll, `slept` the seconds that it meant to sleep since."""

    name: str
    endpoint: str
    began: int = 0
    slept: float = 0.0

    @property
    def live(self) -> bool:
        return not is_history(self.endpoint)


@dataclass
class _Turn:
    """The locked row of the budget: `state` is what will be written."""

    connection: Connection
    now: int
    state: State


class SharedBudget:
    """Grants requests of `account` within `limits` as a `RequestBudget`; may be shared by threads.

    `live_reserve(now)` is how many credits history must leave for the live requests of the month. A caller waits at
    most `max_wait` seconds in all, by the database's clock, so that the wait does not restart for a process that was
    stopped. Nothing is locked during a wait. `clock` maps the database's time to the one to use.
    """

    def __init__(
        self,
        database: Database,
        account: Account,
        limits: Limits,
        *,
        live_reserve: Callable[[datetime], int] = lambda now: 0,
        max_wait: float = 300.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[int], int] = lambda now: now,
    ) -> None:
        self._database = database
        self._account = account
        self._limits = limits
        self._live_reserve = live_reserve
        self._max_wait = max_wait
        self._sleep = sleep
        self._clock = clock
        self._cost = 0 if limits.monthly_credits is None else 1

    def acquire(self, endpoint: str) -> Grant:
        """Wait until a request to `endpoint` may be sent; it counts from then on, and its credit is reserved.

        Raises BudgetExhausted, as early as possible, if the turn would come after `max_wait` or the month's credits do
        not suffice, and a StorageError if the database fails.
        """
        caller = _Caller(secrets.token_hex(6), endpoint)
        step = self._poll(caller)
        if isinstance(step, Grant):
            return step
        try:
            return self._wait(caller, step)
        except BaseException:
            self._leave(caller.name)
            raise

    def settle(self, grant: Grant, outcome: str, cool_down: float | None = None, reason: str = "") -> None:
        """Record the outcome of the granted request, and release its credit if CoinGecko does not charge for it.

        `cool_down` stops all requests for that many seconds. Best effort: an error of the database is logged, not
        raised, because the answer must not be lost.
        """
        try:
            with self._locked() as turn:
                granted_at = to_microseconds(grant.granted_at)
                turn.state = rules.end(turn.state, granted_at, turn.now)
                if cool_down:
                    until = turn.now + round(min(cool_down * SECOND, rules.LONGEST_COOL_DOWN))
                    turn.state = rules.cool_down(turn.state, until, reason)
                charged = self._cost if is_charged(outcome) else 0
                if month_of(granted_at) == turn.state.month:
                    turn.state = rules.release(turn.state, self._cost - charged)
                ledger.record_outcome(
                    turn.connection, self._account, grant.endpoint, grant.granted_at, outcome,
                    reserved=self._cost, charged=charged,
                )
        except (StorageError, SQLAlchemyError) as error:
            logger.warning(
                "The outcome of GET %s (%s) could not be recorded in the request budget: %s",
                grant.endpoint, outcome, error, extra={"endpoint": grant.endpoint},
            )

    def _wait(self, caller: _Caller, step: Grant | _Wait) -> Grant:
        """Sleep until the caller's turn, and poll meanwhile, because the turn may move."""
        announced = 0.0
        while isinstance(step, _Wait):
            if step.seconds >= _ANNOUNCED_FROM and caller.slept + step.seconds > announced + _ANNOUNCED_FROM:
                announced = caller.slept + step.seconds
                wait_for = "pause" if step.paused else "minute budget"
                logger.info(
                    "Waiting %.1f s before GET %s: %s", step.seconds, caller.endpoint, step.reason,
                    extra={
                        "endpoint": caller.endpoint, "wait_seconds": round(step.seconds, 3), "wait_for": wait_for
                    },
                )
            pause = min(step.seconds, POLL / SECOND) + _MILLISECOND
            self._sleep(pause)
            caller.slept += pause
            step = self._poll(caller)
        return step

    def _poll(self, caller: _Caller) -> Grant | _Wait:
        """Return the grant if it is the caller's turn, else put it into the queue or leave it there."""
        name, live, limit = caller.name, caller.live, self._limits.requests_per_minute
        with self._locked() as turn:
            state, now = turn.state, turn.now
            caller.began = caller.began or now
            self._require_credits(state, caller, now)
            due = rules.turn(state, limit, now, name, live)
            if due <= now:
                turn.state = rules.grant(state, now, name, self._cost, live)
                granted_at = from_microseconds(now)
                ledger.record_sent(
                    turn.connection, self._account, caller.endpoint, granted_at, reserved=self._cost
                )
                return Grant(caller.endpoint, granted_at, caller.slept)
            paused = state.cool_down_until > now
            wait = _Wait((due - now) / SECOND, self._reason(state, now, name, live), paused)
            waited = max(caller.slept, (now - caller.began) / SECOND)
            if waited + wait.seconds > self._max_wait:
                verdict = _too_long(wait, from_microseconds(due), waited, self._max_wait)
                raise BudgetExhausted(verdict, endpoint=caller.endpoint, retry_after=wait.seconds)
            turn.state = rules.enqueue(state, limit, now, name, due, live)
            return wait

    def _reason(self, state: State, now: int, name: str, live: bool) -> str:
        """Say why the caller with this ticket, or a new one, has to wait."""
        if state.cool_down_until > now:
            return f"no requests before {_utc(from_microseconds(state.cool_down_until))} ({state.cool_down_reason})"
        ahead = rules.count_ahead(state, name, live)
        queue = f", with {counted(ahead, 'request')} ahead in the queue" if ahead else ""
        limit = counted(self._limits.requests_per_minute, "request")
        return f"the limit of {self._account.name} is {limit} per minute{queue}"

    def _require_credits(self, state: State, caller: _Caller, now: int) -> None:
        time_now = from_microseconds(now)
        reserved = 0 if caller.live or not self._cost else self._live_reserve(time_now)
        short = shortage(state, self._limits, reserved)
        if short is None:
            return
        reserve = f"; {reserved:,} are reserved for the live requests of the rest of the month" if reserved else ""
        raise BudgetExhausted(
            f"{short.used:,} of the {short.cap:,} credits of this month of {self._account.name} are used, "
            f"{short.left:,} are left{reserve}. They renew on {short.renews_at:%Y-%m-%d} 00:00 UTC; "
            "COINGECKO_MONTHLY_CREDITS sets the cap.",
            endpoint=caller.endpoint,
            retry_after=(short.renews_at - time_now).total_seconds(),
        )

    @contextmanager
    def _locked(self) -> Iterator[_Turn]:
        """Open one transaction on the budget's row, at a time that is read after the lock was acquired."""
        with self._database.writing(request_budgets) as connection:
            stored, database_now = records.load_for_update(connection, self._account.name)
            now = self._clock(database_now)
            turn = _Turn(connection, now, rules.advance(stored, now))
            if turn.state.month != (month := month_of(now)):
                # The clock may have gone back to a month that was spent in part: the ledger has the sum.
                spent = ledger.credits_of(connection, self._account.name, month)
                turn.state = replace(turn.state, month=month, credits_used=spent)
            yield turn
            if turn.state != stored:
                records.save(connection, self._account.name, turn.state)

    def _leave(self, name: str) -> None:
        """Leave the queue. Best effort: an abandoned place is given up a few seconds later anyway."""
        try:
            with self._locked() as turn:
                turn.state = rules.dequeue(turn.state, name)
        except (StorageError, SQLAlchemyError) as error:
            logger.debug("A place in the queue of the request budget was not released: %s", error)


def _too_long(wait: _Wait, due: datetime, waited: float, max_wait: float) -> str:
    """Say that the turn comes too late. A pause is the server's: no setting ends it."""
    already = f" after {waited:.0f} s of waiting" if waited >= 1 else ""
    remedy = "" if wait.paused else ", or allow more with COINGECKO_REQUESTS_PER_MINUTE if the plan does"
    return (
        f"its turn would come in {wait.seconds:.0f} s{already}, at {_utc(due)}, and "
        f"{max_wait:.0f} s is the longest wait: {wait.reason}. Try again then{remedy}."
    )


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
