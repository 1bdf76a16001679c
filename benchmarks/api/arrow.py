"""A million rows as an Arrow answer, beside reading the same rows from the database without HTTP."""

import asyncio
from collections.abc import Iterator

import pyarrow as pa

from benchmarks.api import servers
from benchmarks.api.client import Connection
from benchmarks.figures import Figure
from benchmarks.measure import call_wall, in_turn
from benchmarks.world import World
from market_pipeline.api.http.negotiation import ARROW
from market_pipeline.core.clock import utc_now
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.price_pages import PriceQuery, newest_table

_ROUNDS = 5


def figures(name: str, world: World, database: Database, rows: int) -> Iterator[Figure]:
    """Rows per second of both in turn; either ends with an Arrow table in memory."""
    with servers.ours(world.environment(database)) as address:

        def over_http() -> float:
            return rows / call_wall(lambda: _same(asyncio.run(_asked(address, rows)), rows))

        def without() -> float:
            asked = PriceQuery("BTC", None, None, rows)
            return rows / call_wall(lambda: _same(newest_table(database, asked, utc_now()), rows))

        pair = in_turn(over_http, without, _ROUNDS)
    note = f"{pair.first / 1000:,.0f} k rows/s against {pair.second / 1000:,.0f} k"
    yield Figure(f"{name}: {rows:,} rows as Arrow / without HTTP", pair.ratio, "x", 0.5, at_least=True, note=note)


async def _asked(address: str, rows: int) -> pa.Table:
    async with Connection(address) as connection:
        answer = await connection.ask("GET", f"/prices/BTC?limit={rows}", accept=ARROW)
    return pa.ipc.open_stream(answer.body).read_all()


def _same(table: pa.Table, rows: int) -> None:
    """A rate of anything else would mean nothing."""
    if len(table) != rows or "price" not in table.column_names:
        raise RuntimeError(f"got {len(table)} rows of {table.column_names}, not {rows}")
