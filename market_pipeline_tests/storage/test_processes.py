"""Many processes and threads on one database: nothing is lost and nobody is turned away."""

import threading
import time
from multiprocessing import get_context

import pytest

from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows import write
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import START, coin_id, price_row, prices_of

pytestmark = pytest.mark.slow

PROCESSES, WRITES, ROWS = 8, 25, 5


def _write_many(url, number, price):
    """Every process writes the same times of a shared symbol and of its own; every fifth write in bulk."""
    database = Database(url)
    for turn in range(WRITES):
        write.BULK_FROM = 0 if turn % 5 == 4 else 1_000_000
        rows = [
            {
                **price,
                "symbol": symbol,
                "coin_id": coin_id(symbol),
                "timestamp": price["timestamp"].replace(minute=turn, second=row),
                "price": 1.0 + number,
            }
            for symbol in ("ALL", f"P{number}")
            for row in reversed(range(ROWS))
        ]
        upsert(database, raw_prices, columns_of(tables.raw_prices, rows))
    database.dispose()


def test_eight_processes_lose_no_rows_and_none_is_turned_away(database):
    """On PostgreSQL the rows are met in one order, so that writers never wait for each other in a circle."""
    context = get_context("spawn")
    workers = [
        context.Process(target=_write_many, args=(database.url, n, price_row())) for n in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    day = START.date()
    symbols = ["ALL", *(f"P{n}" for n in range(PROCESSES))]
    for symbol in symbols:
        assert len(read_columns(database, raw_prices, [Slice(symbol, day, day)])) == WRITES * ROWS


@pytest.mark.usefixtures("path")
def test_a_writer_waits_for_another_and_then_writes(database, stored):
    started, done = threading.Event(), threading.Event()

    def second():
        started.set()
        upsert(database, raw_prices, prices_of(price_row(price=2.0)))
        done.set()

    with database.writing() as connection:
        connection.execute(raw_prices.insert(), price_row(price=1.0))
        waiting = threading.Thread(target=second)
        waiting.start()
        started.wait(10)
        time.sleep(0.2)
        assert not done.is_set()
    waiting.join(20)
    assert done.is_set()
    assert [row["price"] for row in stored(database, raw_prices)] == [2.0]


def test_a_block_that_raises_leaves_nothing(database, stored):
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        connection.execute(raw_prices.insert(), price_row())
        raise ZeroDivisionError
    assert stored(database, raw_prices) == []


def test_a_disposed_database_stays_usable(database, stored):
    upsert(database, raw_prices, prices_of(price_row()))
    database.dispose()
    database.dispose()
    assert stored(database, raw_prices) == [price_row()]
