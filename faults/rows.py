"""Small writes, reads and acquires that several sections make, and their numbered rows."""

from datetime import datetime, timedelta, timezone

from sqlalchemy import func, select

from benchmarks.world import COINS
from market_pipeline.budget.plan_limits import Account, Limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.read import read_arrow, read_columns
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices

_BEGIN = datetime(2026, 3, 1, tzinfo=timezone.utc)


def budget_of(database: Database) -> SharedBudget:
    """A budget whose limits nobody reaches."""
    return SharedBudget(database, Account("pro", "loopback"), Limits(1_000_000, 100_000_000), max_wait=5.0)


def acquire(budget: SharedBudget) -> None:
    """Get a grant and settle it, as a request does."""
    budget.settle(budget.acquire("/simple/price"), "200")


def read(database: Database) -> int:
    """Read a day of one symbol."""
    return len(read_columns(database, raw_prices, [Slice("BTC", _BEGIN.date(), _BEGIN.date())]))


def read_by_arrow(database: Database) -> None:
    """The same on the bulk path."""
    read_arrow(database, raw_prices, [Slice("BTC", _BEGIN.date(), _BEGIN.date())])


def write(database: Database, number: int) -> None:
    """Write the row of every symbol that `number` stands for, in one transaction."""
    at = _BEGIN + timedelta(seconds=number)
    upsert(database, raw_prices, _prices([(symbol, at) for symbol in KNOWN_COINS]))


def write_many(database: Database, count: int, block: int = 0) -> None:
    """Write many rows by the bulk path, at times before those of `write`; each `block` has its own."""
    first = _BEGIN - timedelta(days=300 + block)
    upsert(database, raw_prices, _prices([("BTC", first + timedelta(seconds=n)) for n in range(count)]))


def written(database: Database) -> dict[int, int]:
    """How many rows are stored of each number that `write` wrote."""
    columns = raw_prices.c
    query = select(columns.timestamp, func.count()).where(columns.timestamp >= _BEGIN).group_by(columns.timestamp)
    with database.reading() as connection:
        return {round((at - _BEGIN).total_seconds()): count for at, count in connection.execute(query)}


def _prices(rows: list[tuple[str, datetime]]) -> Columns:
    return columns_of(raw_prices, [
        {
            "symbol": symbol, "coin_id": COINS[symbol], "timestamp": at, "price": 1.0, "source": "market_chart",
            "ingested_at": at,
        }
        for symbol, at in rows
    ])
