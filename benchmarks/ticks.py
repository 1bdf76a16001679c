"""What a scheduled tick costs: against a run that does nothing, and against what is stored."""

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import lru_cache

import dagster as dg
import numpy as np

from benchmarks.figures import Figure
from benchmarks.measure import call_cpu, in_turn, process_cpu
from benchmarks.world import COINS, MARKET, World, a_world, use
from market_pipeline.core.clock import utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.defs.partitions import range_tags
from market_pipeline.pipeline.names import TICK
from market_pipeline.settings import load_settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import tables

SYMBOLS = tuple(KNOWN_COINS)
FEW, MANY = 10_000, 10_000_000
FIVE_MINUTES = np.timedelta64(300, "s")
_CHUNK = 500_000
_RECENT = 10 * 288


def figures() -> Iterator[Figure]:
    """The cost of a tick as two ratios."""
    with a_world() as world:
        database = world.sqlite("few.db")
        fill(database, FEW)
        pair = in_turn(
            lambda: _process("market_pipeline.definitions", TICK, world.environment(database), today()),
            lambda: _process("benchmarks.empty_location", "empty", world.environment(database), {}),
            5,
        )
        yield Figure(
            "tick of five symbols / run of one empty asset",
            pair.ratio,
            "x",
            1.3,
            note=f"{pair.first:.2f} s CPU against {pair.second:.2f} s",
        )
        yield from _stored_rows(world, database)


def _stored_rows(world: World, few: Database) -> Iterator[Figure]:
    many = world.sqlite("many.db")
    fill(many, MANY)
    use(world.environment(few))
    from market_pipeline.build import build_defs

    def job_on(database: Database) -> dg.JobDefinition:
        return build_defs(load_settings(None), resources={"database": database}).resolve_job_def(TICK)

    on_many, on_few = job_on(many), job_on(few)
    with dg.DagsterInstance.get() as instance:

        def tick(job: dg.JobDefinition) -> float:
            return call_cpu(lambda: job.execute_in_process(instance=instance, tags=today()))

        pair = in_turn(lambda: tick(on_many), lambda: tick(on_few), 9)
    yield Figure(
        f"tick with {MANY:.0e} rows stored / with {FEW:.0e}",
        pair.ratio,
        "x",
        1.1,
        note=f"{pair.first:.3f} s CPU against {pair.second:.3f} s, in a warm process",
    )


def today() -> dict[str, str]:
    """The tags of a tick's run."""
    day = utc_now().date()
    return range_tags(day, day, SYMBOLS)


def fill(database: Database, rows: int) -> None:
    """Store five-minute prices of all symbols up to now, `rows` in all.

    The last ten days are those of the simulated market that ticks go on with, as a tick between strange prices would
    flag them all and draw a chart each time; earlier days repeat them.
    """
    end = np.datetime64((utc_now() - timedelta(minutes=10)).replace(tzinfo=None), "us")
    per_symbol = rows // len(SYMBOLS)
    for symbol in SYMBOLS:
        for first in range(0, per_symbol, _CHUNK):
            steps = np.arange(first, min(first + _CHUNK, per_symbol))
            upsert(
                database, tables.raw_prices, _prices(symbol, end - steps[::-1] * FIVE_MINUTES, steps[::-1])
            )


def _prices(symbol: str, times: np.ndarray, steps: np.ndarray) -> Columns:
    return Columns(
        {
            "symbol": np.full(len(times), symbol, dtype=object),
            "coin_id": np.full(len(times), COINS[symbol], dtype=object),
            "timestamp": times,
            "price": _walk(symbol, utc_now().date())[steps % _RECENT],
            "source": np.full(len(times), "simple_price", dtype=object),
            "ingested_at": times,
        }
    )


@lru_cache
def _walk(symbol: str, _day: date) -> np.ndarray:
    """The market's prices of the last ten days, newest first."""
    newest = utc_now() - timedelta(minutes=10)
    steps = range(_RECENT)
    return np.array([MARKET.price(KNOWN_COINS[symbol], newest - timedelta(minutes=5 * step)) for step in steps])


def _process(module: str, job: str, environment: Mapping[str, str], tags: Mapping[str, str]) -> float:
    command = [
        sys.executable,
        "-m",
        "dagster",
        "job",
        "execute",
        "-m",
        module,
        "-j",
        job,
        "--tags",
        json.dumps(tags),
    ]
    return process_cpu(command, environment)
