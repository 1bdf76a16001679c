"""Requests per second beside the bare endpoint, Arrow beside reading without HTTP, and a crowd for half a minute."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import make_url

from benchmarks.api import arrow, crowd, servers
from benchmarks.api.load import Told, load
from benchmarks.api.rows import store_prices
from benchmarks.figures import Figure
from benchmarks.measure import in_turn
from benchmarks.world import COINS, World, a_world, postgresql
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate

ROWS = 1_000_000
ROUNDS = 3
_FEW = 1_000
_CALLERS = 32
_SECONDS = 4.0
_PATH = "/prices/BTC?limit=100"


def figures() -> Iterator[Figure]:
    """All of it on SQLite and on PostgreSQL."""
    with tempfile.TemporaryDirectory() as folder, a_world() as world, postgresql() as server:
        for url in (make_url(f"sqlite:///{Path(folder) / 'prices.db'}"), server):
            database = Database(url, COINS)
            migrate(database)
            store_prices(database, ROWS)
            for symbol in ("ETH", "SOL", "ADA", "DOT"):
                store_prices(database, _FEW, symbol)
            name = "SQLite" if database.dialect == "sqlite" else "PostgreSQL"
            yield from _beside_the_bare_endpoint(name, world, database)
            yield from arrow.figures(name, world, database, ROWS)
            yield from crowd.figures(name, database)
            database.dispose()


def _beside_the_bare_endpoint(name: str, world: World, database: Database) -> Iterator[Figure]:
    """Requests per second and what they took, of both in turn."""
    told: dict[str, Told] = {}
    url = database.url.render_as_string(hide_password=False)
    with servers.ours(world.environment(database)) as address, servers.bare(url) as other:

        def rate(where: str) -> float:
            told[where], _ = load(where, _SECONDS, _CALLERS, 0, (), reads=(_PATH,))
            if set(told[where].outcomes) != {"200"}:
                raise RuntimeError(f"{where}{_PATH} answered {dict(told[where].outcomes)}")
            return len(told[where].seconds) / _SECONDS

        pair = in_turn(lambda: rate(address), lambda: rate(other), ROUNDS)
    note = f"{pair.first:,.0f} against {pair.second:,.0f} requests/s, {_CALLERS} connections"
    yield Figure(f"{name}: {_PATH} / bare FastAPI and ORM", pair.ratio, "x", note=note)
    for whose, where in (("ours", address), ("bare", other)):
        for share, quantile in (("p50", 0.5), ("p99", 0.99)):
            yield Figure(f"{name}: {_PATH}, {whose}, {share}", 1000 * told[where].quantile(quantile), "ms")
