"""Reading, locking and writing the rows of `request_budgets`, one for each account."""

from dataclasses import astuple

from sqlalchemy import Connection, RowMapping, select, text, update

from market_pipeline.budget.rules import State, Ticket
from market_pipeline.core.clock import from_microseconds, to_microseconds
from market_pipeline.storage.schema.operations_tables import request_budgets

_COLUMNS = request_budgets.c

# A process that stops in the middle of its transaction, or whose host is gone, would hold up everybody
# else on PostgreSQL for as long as its connection seems alive. On SQLite waiting for a lock is bounded.
HOLDER_SECONDS = 10
PATIENCE_SECONDS = 30
_BOUNDS = text(
    "SELECT set_config('idle_in_transaction_session_timeout', :holder, true), "
    "set_config('lock_timeout', :patience, true)"
)
_ADD = text(
    "INSERT INTO request_budgets (account, granted, waiting, month, credits_used) "
    "VALUES (:account, '[]', '[]', '1970-01-01', 0) ON CONFLICT DO NOTHING"
)


def load_for_update(connection: Connection, account: str) -> State:
    """The state of the budget of `account`, made if there is none, locked until the transaction ends.

    PostgreSQL ends a transaction that holds the lock and does nothing for `HOLDER_SECONDS`; whoever
    cannot have it for `PATIENCE_SECONDS` gets an OperationalError.
    """
    if connection.dialect.name == "postgresql":
        bounds = {"holder": f"{HOLDER_SECONDS}s", "patience": f"{PATIENCE_SECONDS}s"}
        connection.execute(_BOUNDS, bounds)
    query = select(request_budgets).where(_COLUMNS.account == account).with_for_update()
    row = connection.execute(query).mappings().first()
    if row is None:
        connection.execute(_ADD, {"account": account})
        row = connection.execute(query).mappings().one()
    return _state(row)


def load(connection: Connection, account: str) -> State:
    """The state of the budget of `account`, an untouched one if there is none yet; locks nothing."""
    row = connection.execute(select(request_budgets).where(_COLUMNS.account == account)).mappings().first()
    return State() if row is None else _state(row)


def save(connection: Connection, account: str, state: State) -> None:
    """Write `state` into the row of `account`."""
    until = state.cool_down_until
    connection.execute(
        update(request_budgets).where(_COLUMNS.account == account).values(
            granted=list(state.granted),
            waiting=[astuple(ticket) for ticket in state.waiting],
            cool_down_until=from_microseconds(until) if until else None,
            cool_down_reason=state.cool_down_reason or None,
            month=state.month,
            credits_used=state.credits_used,
        )
    )


def _state(row: RowMapping) -> State:
    until = row["cool_down_until"]
    return State(
        granted=tuple(row["granted"]),
        waiting=tuple(Ticket(*ticket) for ticket in row["waiting"]),
        cool_down_until=to_microseconds(until) if until else 0,
        cool_down_reason=row["cool_down_reason"] or "",
        month=row["month"],
        credits_used=row["credits_used"],
    )
