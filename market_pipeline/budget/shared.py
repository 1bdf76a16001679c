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
from market_pipeline.budget.credits import Shortage, is_charged, is_history, shortage
from market_pipeline.budget.plan_limits import Account, Limits
from market_pipeline.budget.rules import LOOK, SECOND, State
from market_pipeline.coingecko.errors import BudgetExhausted
from market_pipeline.coingecko.request_budget import Grant
from market_pipeline.core.clock import from_microseconds, month_of, to_microseconds
from market_pipeline.logs import get_logger
from market_pipeline.storage.database_clock import DatabaseClock, database_clock
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import request_budgets

logger = get_logger(__name__)

# Shorter waits only pace requests that come at once; they are not worth a line in the log.
_ANNOUNCED_FROM = 1.0
# So that a clock of whole milliseconds has reached the turn when the sleeper looks again.
_MILLISECOND = 0.001


@dataclass(frozen=True)
class _Wait:
    seconds: float
    reason: str


@dataclass
class _Caller:
    """One who asks: `began` is when it first looked, `slept` how many seconds it meant to sleep since."""

    name: str
    endpoint: str
    began: int = 0
    slept: float = 0.0


@dataclass
class _Turn:
    """The row of the budget while it is locked: `state` is what will be written."""

    connection: Connection
    now: int
    state: State


class SharedBudget:
    """Grants requests of `account` within `limits` as a `RequestBudget`; may be shared by threads.

    `live_reserve(now)` is how many credits history has to leave for the live requests of the month.
    Nobody waits longer than `max_wait` seconds in all, by the database's clock, so that a process that
    was stopped meanwhile does not begin anew. Nothing is locked while anybody sleeps.
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
        clock: DatabaseClock = database_clock,
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

        Raises BudgetExhausted, at once where the numbers show it, if the turn would come after
        `max_wait` or the month's credits do not suffice, and a StorageError if the database fails.
        """
        caller = _Caller(secrets.token_hex(6), endpoint)
        step = self._look(caller)
        if isinstance(step, Grant):
            return step
        try:
            return self._wait(caller, step)
        except BaseException:
            self._leave(caller.name)
            raise

    def settle(self, grant: Grant, outcome: str, cool_down: float | None = None, reason: str = "") -> None:
        """Record how the granted request ended, and release its credit if CoinGecko does not charge for that.

        Everybody pauses for `cool_down` seconds from now on.
        A database that fails here is logged and raises nothing: the answer is not to be lost.
        """
        try:
            with self._locked() as turn:
                granted_at = to_microseconds(grant.granted_at)
                turn.state = rules.ended(turn.state, granted_at, turn.now)
                if cool_down:
                    until = turn.now + round(min(cool_down * SECOND, rules.LONGEST_COOL_DOWN))
                    turn.state = rules.cooled_down(turn.state, until, reason)
                charged = self._cost if is_charged(outcome) else 0
                if month_of(granted_at) == turn.state.month:
                    turn.state = rules.released(turn.state, self._cost - charged)
                ledger.record_outcome(
                    turn.connection, self._account, grant.endpoint, grant.granted_at, outcome,
                    reserved=self._cost, charged=charged,
                )
        except (StorageError, SQLAlchemyError) as error:
            logger.warning(
                "The outcome of GET %s (%s) could not be entered into the request budget: %s",
                grant.endpoint, outcome, error, extra={"endpoint": grant.endpoint},
            )

    def _wait(self, caller: _Caller, step: Grant | _Wait) -> Grant:
        """Sleep until the caller's turn has come; it looks again now and then, as the turn may move."""
        announced = 0.0
        while isinstance(step, _Wait):
            if step.seconds >= _ANNOUNCED_FROM and caller.slept + step.seconds > announced + _ANNOUNCED_FROM:
                announced = caller.slept + step.seconds
                logger.info(
                    "Waiting %.1f s before GET %s: %s", step.seconds, caller.endpoint, step.reason,
                    extra={"endpoint": caller.endpoint, "wait_seconds": round(step.seconds, 3)},
                )
            pause = min(step.seconds, LOOK / SECOND) + _MILLISECOND
            self._sleep(pause)
            caller.slept += pause
            step = self._look(caller)
        return step

    def _look(self, caller: _Caller) -> Grant | _Wait:
        """The grant if it is the caller's turn, else its place in the queue is kept."""
        name, endpoint, limit = caller.name, caller.endpoint, self._limits.requests_per_minute
        live = not is_history(endpoint)
        with self._locked() as turn:
            state, now = turn.state, turn.now
            caller.began = caller.began or now
            self._require_credits(state, endpoint, now)
            due = rules.turn(state, limit, now, name, live)
            if due <= now:
                turn.state = rules.granted(state, now, name, self._cost, live)
                granted_at = from_microseconds(now)
                ledger.record_sent(turn.connection, self._account, endpoint, granted_at, self._cost)
                return Grant(endpoint, granted_at, caller.slept)
            wait = (due - now) / SECOND
            why = _why_wait(state, self._account, self._limits, now, name, live)
            waited = max(caller.slept, (now - caller.began) / SECOND)
            if waited + wait > self._max_wait:
                verdict = _too_long(state, why, now, due, waited, self._max_wait)
                raise BudgetExhausted(verdict, endpoint=endpoint, retry_after=wait)
            turn.state = rules.queued(state, limit, now, name, due, live)
            return _Wait(wait, why)

    def _require_credits(self, state: State, endpoint: str, now: int) -> None:
        reserved = 0
        if self._cost and is_history(endpoint):
            reserved = self._live_reserve(from_microseconds(now))
        if short := shortage(state, self._limits, reserved):
            seconds = (short.renews_at - from_microseconds(now)).total_seconds()
            verdict = _no_credits(short, self._account)
            raise BudgetExhausted(verdict, endpoint=endpoint, retry_after=seconds)

    @contextmanager
    def _locked(self) -> Iterator[_Turn]:
        """One transaction on the budget's row, in which the clock is read after the lock was had."""
        with self._database.writing(request_budgets) as connection:
            stored = records.load_for_update(connection, self._account.name)
            turn = _Turn(connection, self._clock(connection), stored)
            turn.state = rules.brought_to(stored, turn.now)
            if turn.state.month != (month := month_of(turn.now)):
                # The ledger remembers also where the clock went back to a month that had begun to be spent.
                spent = ledger.credits_of(connection, self._account.name, month)
                turn.state = replace(turn.state, month=month, credits_used=spent)
            yield turn
            if turn.state != stored:
                records.save(connection, self._account.name, turn.state)

    def _leave(self, name: str) -> None:
        """Give up a place in the queue; if that fails the place is lost a few seconds later anyway."""
        try:
            with self._locked() as turn:
                turn.state = rules.left(turn.state, name)
        except (StorageError, SQLAlchemyError) as error:
            logger.debug("A place in the queue of the request budget was not given up: %s", error)


def _why_wait(state: State, account: Account, limits: Limits, now: int, name: str, live: bool) -> str:
    """The reason for which the caller with this ticket, or one who comes now, has to wait."""
    if state.cool_down_until > now:
        return f"no requests before {_time(state.cool_down_until)} ({state.cool_down_reason})"
    waiting = rules.ahead(state, name, live)
    queue = f" and {waiting} wait ahead" if waiting else ""
    return f"{limits.requests_per_minute} requests a minute are the limit of {account.name}{queue}"


def _too_long(state: State, why: str, now: int, turn: int, waited: float, max_wait: float) -> str:
    """The verdict where the turn would come too late for one who `waited` so many seconds already.

    `why` is as `why_wait` says it. A pause is the server's: no setting of ours ends it.
    """
    already = f" after {waited:.0f} s of waiting" if waited >= 1 else ""
    remedy = "" if state.cool_down_until > now else (
        ", or allow more with COINGECKO_REQUESTS_PER_MINUTE if the plan does"
    )
    return (
        f"its turn would come in {(turn - now) / SECOND:.0f} s{already}, at {_time(turn)}, and "
        f"{max_wait:.0f} s is the longest wait: {why}. Try again then{remedy}."
    )


def _no_credits(short: Shortage, account: Account) -> str:
    """The verdict where the credits of the month do not suffice."""
    kept = f"; {short.reserved:,} are kept for the live requests of the rest of the month"
    return (
        f"{short.used:,} of the {short.cap:,} credits of this month of {account.name} are used, "
        f"{short.left:,} are left{kept if short.reserved else ''}. They renew on "
        f"{short.renews_at:%Y-%m-%d} 00:00 UTC; COINGECKO_MONTHLY_CREDITS sets the cap."
    )


def _time(moment: int) -> str:
    return f"{from_microseconds(moment):%Y-%m-%d %H:%M:%S} UTC"
