"""What must hold after any crash: slices whole, nothing doubled, every request counted once, Dagster's index true.

Each function returns sentences about what does not hold.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

import dagster as dg
import numpy as np
from sqlalchemy import func, select, text

from faults.ticker import SYMBOLS
from market_pipeline.anomalies import PAST_DAYS
from market_pipeline.budget.ledger import PENDING
from market_pipeline.core.clock import DAY
from market_pipeline.core.columns import Columns, to_datetime64
from market_pipeline.core.slices import Slice
from market_pipeline.dagster_instance.nonpublic import materialized_partitions
from market_pipeline.dagster_instance.reports import partition_name
from market_pipeline.pipeline.score import anomaly_rows, score_days
from market_pipeline.prices.freshness import longest_silence
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.integrity import quotes_in_future, quotes_not_positive
from market_pipeline.storage.queries.silences import recent_silences
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.schema.operations_tables import request_budgets, request_ledger
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices

CRON = "*/5 * * * *"


def prices(database: Database, since: datetime, now: datetime) -> Iterator[str]:
    """The rows of each collection are there for every symbol or for none; none is doubled or impossible."""
    columns = raw_prices.c
    batches = select(columns.ingested_at, func.count()).where(
        columns.source == "simple_price", columns.ingested_at >= since
    ).group_by(columns.ingested_at)
    doubled = select(func.count()).select_from(
        select(columns.symbol).group_by(columns.symbol, columns.timestamp).having(func.count() > 1).subquery()
    )
    with database.reading() as connection:
        halves = [at for at, count in connection.execute(batches) if count != len(SYMBOLS)]
        twice = connection.execute(doubled).scalar_one()
    slices = [Slice(symbol, now.date() - DAY, now.date()) for symbol in SYMBOLS]
    if halves:
        yield f"half-written prices of {halves[0]}"
    if twice:
        yield f"{twice} doubled prices"
    if bad := quotes_not_positive(database, slices).count + quotes_in_future(database, slices, now).count:
        yield f"{bad} impossible prices"


def holes(database: Database, now: datetime) -> Iterator[str]:
    """The last day has prices throughout."""
    longest = longest_silence(CRON, now)
    found = recent_silences(database, SYMBOLS, now - DAY, now, longest)
    for symbol, recent in found.items():
        if recent.silences or now - recent.newest > longest:
            yield f"a hole in the prices of {symbol}"


def count_prices(database: Database, until: datetime) -> int:
    """How many prices were stored before `until`: this never falls."""
    query = select(func.count()).select_from(raw_prices).where(raw_prices.c.ingested_at < until)
    with database.reading() as connection:
        return int(connection.execute(query).scalar_one())


def anomalies(database: Database, day: date, *ends: datetime | None) -> Iterator[str]:
    """The stored anomalies of `day` are those of the prices stored before one of `ends` (None: of all prices)."""
    slices = [Slice(symbol, day - PAST_DAYS * DAY, day + DAY) for symbol in SYMBOLS]
    stored = read_columns(database, price_anomalies, [Slice(symbol, day, day) for symbol in SYMBOLS])
    known = read_columns(database, raw_prices, slices, ["symbol", "timestamp", "price", "ingested_at"])
    for end in ends:
        used = known if end is None else known.where(known["ingested_at"] < to_datetime64(end))
        fresh = anomaly_rows(database, score_days(database, used, [(day, symbol) for symbol in SYMBOLS]))
        if _same(stored, fresh):
            return
    yield f"the anomalies of {day} ({len(stored)} rows) are those of no state of the prices"


def _same(stored: Columns, fresh: Columns) -> bool:
    if len(stored) != len(fresh):
        return False
    order = np.lexsort([fresh[name].astype(str) for name in ("kind", "timestamp")])
    places = {symbol: place for place, symbol in enumerate(SYMBOLS)}
    symbols = np.array([places[symbol] for symbol in fresh["symbol"]], dtype=np.intp)
    fresh = fresh.take(order[np.argsort(symbols[order], kind="stable")])
    return all(_equal(stored[name].tolist(), fresh[name].tolist()) for name in stored.arrays)


def _equal(left: Sequence[object], right: Sequence[object]) -> bool:
    return all(a == b or (a != a and b != b) for a, b in zip(left, right, strict=True))


def dagster_index(
    database: Database, instance: dg.DagsterInstance, days: Sequence[date], *, repaired: bool
) -> Iterator[str]:
    """Every partition that Dagster calls materialized has its rows; after a repair the reverse holds too."""
    green = materialized_partitions(instance, raw_prices.name)
    with database.reading() as connection:
        for day in days:
            for symbol in SYMBOLS:
                part = Slice(symbol, day, day)
                row = select(raw_prices.c.price).where(
                    raw_prices.c.symbol == symbol, raw_prices.c.timestamp >= part.start,
                    raw_prices.c.timestamp < part.end, raw_prices.c.source == "simple_price",
                ).limit(1)
                stored = connection.execute(row).first() is not None
                known = partition_name((day, symbol)) in green
                if known and not stored and _rows_reported(instance, partition_name((day, symbol))):
                    yield f"Dagster calls {symbol} {day} materialized, and its prices are lost"
                if repaired and stored and not known:
                    yield f"Dagster does not know the prices of {symbol} {day}"


def _rows_reported(instance: dg.DagsterInstance, partition: str) -> int:
    """Return how many rows the newest materialization has: none at midnight, when the newest quote is yesterday's."""
    records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(raw_prices.name), asset_partitions=[partition])
    newest = instance.fetch_materializations(records, limit=1).records[0].asset_materialization
    if newest is None:
        raise RuntimeError(f"Dagster has no materialization of {partition}, which it calls materialized")
    return int(str(newest.metadata["dagster/row_count"].value))


def requests(database: Database, arrived: int, killed: int) -> Iterator[str]:
    """Each request that arrived is in the ledger once; those without an outcome are at most the killed ones."""
    columns = request_ledger.c
    with database.reading() as connection:
        counted, credits = connection.execute(
            select(func.coalesce(func.sum(columns.requests), 0), func.coalesce(func.sum(columns.credits), 0))
        ).one()
        pending = connection.execute(
            select(func.coalesce(func.sum(columns.requests), 0)).where(columns.outcome == PENDING)
        ).scalar_one()
        used = connection.execute(select(func.coalesce(func.sum(request_budgets.c.credits_used), 0))).scalar_one()
    if not arrived <= counted <= arrived + killed:
        yield f"{counted} requests in the ledger, {arrived} arrived, {killed} processes killed"
    if pending > killed:
        yield f"{pending} requests without outcome of {killed} killed processes"
    if used != credits:
        yield f"the budget has {used} credits used, the ledger {credits}"


def sessions(database: Database, longest: timedelta) -> Iterator[str]:
    """PostgreSQL keeps no transaction of a dead process open."""
    if database.dialect != "postgresql":
        return
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' "
        "AND now() - state_change > make_interval(secs => :longest) AND pid <> pg_backend_pid()"
    )
    with database.reading() as connection:
        left = connection.execute(query, {"longest": longest.total_seconds()}).scalar_one()
    if left:
        yield f"{left} transactions of dead processes are open"
