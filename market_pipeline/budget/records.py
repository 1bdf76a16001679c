"""Reading, locking and writing the rows of `request_budgets`, one for each account.

Times are microseconds since 1970 UTC by the database's clock. It is read in the statement that reads the
row, which saves a round trip.
"""

from dataclasses import astuple
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Row, text, update

from market_pipeline.budget.rules import State, Ticket
from market_pipeline.core.clock import from_microseconds, to_microseconds
from market_pipeline.storage.database_clock import NOW, database_clock
from market_pipeline.storage.schema.operations_tables import request_budgets

# On PostgreSQL a process that stops in the middle of its transaction, or whose host is gone, would block all
# others for as long as its connection seems alive. On SQLite waiting for a lock is bounded.
HOLDER_SECONDS = 10
PATIENCE_SECONDS = 30

_COLUMNS = ", ".join(request_budgets.c.keys())
_TYPES = (*request_budgets.c, Column("now", BigInteger))
_READ = {
    dialect: text(f"SELECT {_COLUMNS}, {now} FROM request_budgets WHERE account = :account").columns(*_TYPES)
    for dialect, now in NOW.items()
}
_LOCK = {
    # A writing transaction holds the lock already.
    "sqlite": _READ["sqlite"],
    # One round trip. The outer query reads the clock after the inner one has the lock. A crash of the server may
    # lose the last half second of grants, as on SQLite: no caller waits for the disk (see docs/decisions/0020).
    "postgresql": text(
        "SET LOCAL synchronous_commit = off; "
        "SET LOCAL idle_in_transaction_session_timeout = :holder; SET LOCAL lock_timeout = :patience; "
        "WITH locked AS MATERIALIZED (SELECT * FROM request_budgets WHERE account = :account FOR UPDATE) "
        f"SELECT {_COLUMNS}, {NOW['postgresql']} FROM locked"
    ).columns(*_TYPES),
}
_ADD = text(
    "INSERT INTO request_budgets (account, granted, waiting, month, credits_used) "
    "VALUES (:account, '[]', '[]', '1970-01-01', 0) ON CONFLICT DO NOTHING"
)


def load_for_update(connection: Connection, account: str) -> tuple[State, int]:
    """Return the state of the budget of `account` and the time, and lock it until the transaction ends.

    The row is created if it is missing. PostgreSQL ends a transaction that holds the lock and is idle for
    `HOLDER_SECONDS`; after `PATIENCE_SECONDS` without the lock an OperationalError is raised.
    """
    parameters = {"account": account}
    if connection.dialect.name == "postgresql":
        parameters |= {"holder": f"{HOLDER_SECONDS}s", "patience": f"{PATIENCE_SECONDS}s"}
    query = _LOCK[connection.dialect.name]
    row = connection.execute(query, parameters).first()
    if row is None:
        connection.execute(_ADD, {"account": account})
        row = connection.execute(query, parameters).one()
    return _state(row), row.now


def load(connection: Connection, account: str) -> tuple[State, int]:
    """Return the state of the budget of `account`, a fresh one if it has no row, and the time. Locks nothing."""
    row = connection.execute(_READ[connection.dialect.name], {"account": account}).first()
    return (State(), database_clock(connection)) if row is None else (_state(row), row.now)


def save(connection: Connection, account: str, state: State) -> None:
    """Write `state` to the row of `account`."""
    until = state.cool_down_until
    connection.execute(
        update(request_budgets).where(request_budgets.c.account == account).values(
            granted=list(state.granted),
            waiting=[astuple(ticket) for ticket in state.waiting],
            cool_down_until=from_microseconds(until) if until else None,
            cool_down_reason=state.cool_down_reason or None,
            month=state.month,
            credits_used=state.credits_used,
        )
    )


def _state(row: Row[Any]) -> State:
    until = row.cool_down_until
    return State(
        granted=tuple(row.granted),
        waiting=tuple(Ticket(*ticket) for ticket in row.waiting),
        cool_down_until=to_microseconds(until) if until else 0,
        cool_down_reason=row.cool_down_reason or "",
        month=row.month,
        credits_used=row.credits_used,
    )
