"""Rows per second through the IO manager, against pandas on SQLAlchemy and against the bare drivers.

All three store the same rows under the same key and give back the same DataFrame. Wall time, because
a PostgreSQL server shares the work; every table is emptied before each write.
"""

import tempfile
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy import URL, make_url, text

from benchmarks import table_rivals
from benchmarks.figures import Figure
from benchmarks.measure import call_cpu, call_wall, in_turn
from benchmarks.world import postgresql
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.defs.io_manager import DatabaseIOManager
from market_pipeline.defs.partitions import partition_key, price_partitions
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.migrate import migrate
from market_pipeline.storage.schema.tables import raw_prices

SYMBOLS = ("ADA", "BTC", "DOT", "ETH", "SOL")
FIRST = date(2024, 1, 1)
DAYS = 348  # Of five symbols, a price every five minutes: half a million rows.
RIVAL_DAYS = 35
ROUNDS = 3
_PER_DAY = 288


def figures() -> Iterator[Figure]:
    """Write and read on both databases, then the sizes that a tick has."""
    with tempfile.TemporaryDirectory() as folder, postgresql() as server:
        for url in (make_url(f"sqlite:///{folder}/prices.db"), server):
            database = Database(url)
            migrate(database)
            name = "SQLite" if database.dialect == "sqlite" else "PostgreSQL"
            yield from _through_the_io_manager(name, database, url)
            yield from _of_a_tick(name, database)
            database.dispose()


def _through_the_io_manager(name: str, database: Database, url: URL) -> Iterator[Figure]:
    many, few = prices(DAYS), prices(RIVAL_DAYS)
    bare = table_rivals.BareDriver(database)
    with table_rivals.PandasOnSqlalchemy(url) as rival:
        write = _rate(len(many), lambda: _written(database, many), lambda: _empty(database, "raw_prices"))
        yield _figure(
            f"{name}: written / pandas.to_sql",
            write,
            _rate(len(few), lambda: rival.write(few), rival.empty),
            5,
        )
        yield _figure(
            f"{name}: written / {bare.how_written}",
            write,
            _rate(len(many), lambda: bare.write(many), lambda: _empty(database, "raw_prices")),
            0.7,
        )
        _empty(database, "raw_prices")
        _written(database, many)
        rival.empty()
        rival.write(many)
        ours = _read(database, DAYS)
        read = _rate(len(many), lambda: _same(ours(), many))
        yield _figure(
            f"{name}: read / pandas.read_sql", read, _rate(len(many), lambda: _same(rival.read(), many)), 5
        )
        yield _figure(
            f"{name}: read / {bare.how_read}", read, _rate(len(many), lambda: _same(bare.read(), many)), 0.7
        )


def _of_a_tick(name: str, database: Database) -> Iterator[Figure]:
    """What five quotes and the eight days before them cost, in processor time of this process."""
    day = FIRST + timedelta(days=DAYS)
    window = [Slice(symbol, day - timedelta(days=8), day - timedelta(days=1)) for symbol in SYMBOLS]
    quotes = iter(range(1_000_000))

    def write() -> None:
        upsert(database, raw_prices, _quotes(day, next(quotes)))

    def read() -> None:
        read_columns(database, raw_prices, window)

    yield Figure(f"{name}: 5 rows written as a tick does", _milliseconds(write), "ms CPU")
    yield Figure(f"{name}: 11,520 rows read as a tick does", _milliseconds(read), "ms CPU")


def _milliseconds(work: Callable[[], object]) -> float:
    """Processor time of one call, after a first that is not counted."""
    work()
    return 1000 * min(call_cpu(lambda: [work() for _ in range(5)]) / 5 for _ in range(ROUNDS))


Rate = Callable[[], float]


def _rate(rows: int, work: Callable[[], object], before: Callable[[], object] = lambda: None) -> Rate:
    """Measures rows per second."""

    def measure() -> float:
        before()
        return rows / call_wall(work)

    return measure


def _figure(name: str, ours: Rate, theirs: Rate, bar: float) -> Figure:
    pair = in_turn(ours, theirs, ROUNDS)
    note = f"{pair.first / 1000:,.0f} k rows/s against {pair.second / 1000:,.0f} k"
    return Figure(name, pair.ratio, "x", bar, at_least=True, note=note)


def _same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """A rate of anything else would mean nothing."""
    if len(found) != len(expected) or not (found.dtypes == expected.dtypes).all():
        raise RuntimeError(f"read {len(found)} rows of {dict(found.dtypes)}, not {len(expected)}")


def prices(days: int) -> pd.DataFrame:
    """A price every five minutes of each symbol, `days` long."""
    times = pd.date_range(FIRST, periods=days * _PER_DAY, freq="5min", tz="UTC", unit="us")
    count = len(times) * len(SYMBOLS)
    return pd.DataFrame(
        {
            "symbol": pd.Series(np.repeat(np.array(SYMBOLS, dtype=object), len(times)), dtype=_text()),
            "coin_id": pd.Series(np.repeat(_coins(), len(times)), dtype=_text()),
            "timestamp": np.tile(times, len(SYMBOLS)),
            "price": 100.0 + np.sin(np.arange(count) / 50.0),
            "source": pd.Series(np.full(count, "simple_price", dtype=object), dtype=_text()),
            "ingested_at": np.tile(times, len(SYMBOLS)) + pd.Timedelta(seconds=20),
        }
    ).astype({"timestamp": "datetime64[us, UTC]", "ingested_at": "datetime64[us, UTC]"})


def _coins() -> np.ndarray:
    return np.array([KNOWN_COINS[symbol] for symbol in SYMBOLS], dtype=object)


def _text() -> Any:
    """What pandas itself makes of text: `str` from version 3 on, `object` before."""
    return pd.Series(["text"]).dtype


def _quotes(day: date, number: int) -> Columns:
    times = np.full(len(SYMBOLS), np.datetime64(day, "us") + np.timedelta64(number, "s"))
    return Columns(
        {
            "symbol": np.array(SYMBOLS, dtype=object),
            "coin_id": _coins(),
            "timestamp": times,
            "price": 100.0 + np.arange(len(SYMBOLS)),
            "source": np.full(len(SYMBOLS), "simple_price", dtype=object),
            "ingested_at": times,
        }
    )


def _written(database: Database, frame: pd.DataFrame) -> None:
    """The frame through the IO manager, as the output of an asset."""
    context = dg.build_output_context(asset_key="raw_prices", definition_metadata={"write_mode": "upsert"})
    DatabaseIOManager(database).handle_output(context, frame)


def _read(database: Database, days: int) -> Callable[[], pd.DataFrame]:
    """All partitions of `days` days through the IO manager, as the input of an asset."""
    last = FIRST + timedelta(days=days - 1)
    context = dg.build_input_context(
        asset_key=dg.AssetKey("raw_prices"),
        asset_partitions_def=price_partitions(FIRST, SYMBOLS),
        asset_partition_key_range=dg.PartitionKeyRange(
            str(partition_key(FIRST, SYMBOLS[0])), str(partition_key(last, SYMBOLS[-1]))
        ),
        dagster_type=dg.PythonObjectDagsterType(pd.DataFrame),
    )

    def read() -> pd.DataFrame:
        found = DatabaseIOManager(database).load_input(context)
        assert isinstance(found, pd.DataFrame)
        return found

    return read


def _empty(database: Database, table: str) -> None:
    with database.writing() as connection:
        connection.execute(
            text(f"DELETE FROM {table}" if database.dialect == "sqlite" else f"TRUNCATE {table}")
        )
