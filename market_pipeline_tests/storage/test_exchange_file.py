"""SQLite in one process: no second SQLite library ever has the database open (docs/decisions/0002)."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, nullcontext
from pathlib import Path

import pyarrow as pa
import pytest

from market_pipeline.core.slices import Slice
from market_pipeline.storage.db_errors import DatabaseUnavailable
from market_pipeline.storage.engine import EXCHANGE, Database
from market_pipeline.storage.rows import bulk_sqlite, write
from market_pipeline.storage.rows.read import read_many_columns
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import START, price_row, prices_of


@pytest.fixture
def bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "BULK_FROM", 0)


@pytest.mark.usefixtures("bulk")
def test_what_is_committed_around_bulk_work_is_seen_by_another_process(sqlite_database: Database) -> None:
    """A second library that closes the file takes it for unused, and removes the log under our feet."""
    file = str(sqlite_database.url.database)
    day = START.date()
    with closing(sqlite3.connect(file)) as own:
        for number in range(4):
            own.execute("INSERT INTO raw_prices VALUES ('ETH', 'ethereum', ?, 1.0, 'simple_price', 0)", (number,))
            own.commit()
            upsert(sqlite_database, raw_prices, prices_of(price_row(minutes=number)))
            assert len(read_many_columns(sqlite_database, raw_prices, [Slice("BTC", day, day)])) == number + 1
            assert Path(f"{file}-wal").exists()
        count = f"import sqlite3; print(*sqlite3.connect({file!r}).execute('SELECT count(*) FROM raw_prices'))"
        counted = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, check=True)
    assert counted.stdout == "(8,)\n"


@pytest.mark.usefixtures("bulk")
def test_bulk_work_does_not_drop_the_lock_of_a_writer_in_the_same_process(sqlite_database: Database) -> None:
    """POSIX locks belong to the process: closing any descriptor of a file drops them all."""
    upsert(sqlite_database, raw_prices, prices_of(price_row()))
    day = START.date()
    attempt = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], timeout=0.1, isolation_level=None); "
        "connection.execute('BEGIN IMMEDIATE')"
    )
    command = [sys.executable, "-c", attempt, str(sqlite_database.url.database)]
    with sqlite_database.writing():
        assert len(read_many_columns(sqlite_database, raw_prices, [Slice("BTC", day, day)])) == 1
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "database is locked" in other.stderr


@pytest.mark.usefixtures("bulk")
def test_the_exchange_file_is_gone_afterwards_even_after_an_error(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "exchange"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    upsert(sqlite_database, raw_prices, prices_of(price_row()))
    read_many_columns(sqlite_database, raw_prices, [Slice("BTC", START.date(), START.date())])
    with pytest.raises(Exception, match="refused"):
        upsert(sqlite_database, raw_prices, prices_of(price_row(price=-1.0)))
    assert os.listdir(folder) == []
    # And the connections in the pool are as good as before.
    for _ in range(10):
        upsert(sqlite_database, raw_prices, prices_of(price_row(price=2.0)))


@pytest.mark.usefixtures("bulk")
def test_an_exchange_file_that_cannot_be_created_is_unavailable(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_sqlite, "TemporaryDirectory", lambda **_: nullcontext(tmp_path / "absent"))
    with pytest.raises(DatabaseUnavailable, match=r"exchange file .*exchange.db .*TMPDIR"):
        upsert(sqlite_database, raw_prices, prices_of(price_row()))


def test_a_file_that_cannot_be_used_does_not_stay_attached_to_a_connection_of_the_pool(
    sqlite_database: Database, tmp_path: Path
) -> None:
    """As after an interrupt at the wrong moment: every later bulk read would fail."""
    (tmp_path / "broken.db").write_text("no database" * 100)
    with pytest.raises(sqlite3.DatabaseError), sqlite_database.reading(attached=tmp_path / "broken.db"):
        raise AssertionError("it is no database")
    with sqlite_database.reading(attached=tmp_path / "exchange.db") as connection:
        connection.exec_driver_sql(f"CREATE TABLE {EXCHANGE}.works (number)")


def test_an_interrupt_during_a_statement_of_adbc_reaches_python(tmp_path: Path) -> None:
    """A handler of ADBC's own would cancel the statement, which its SQLite cannot, or lose the interrupt."""
    received: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    interrupt = threading.Timer(0.05, signal.raise_signal, [signal.SIGINT])
    to_a_million = "SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000"
    try:
        with bulk_sqlite._adbc(tmp_path / "exchange.db") as statement:
            interrupt.start()
            statement.set_sql_query(f"WITH RECURSIVE n(i) AS ({to_a_million}) SELECT count(*) FROM n")
            stream, _ = statement.execute_query()
            assert pa.RecordBatchReader.from_stream(stream).read_all()[0].to_pylist() == [1_000_000]
        interrupt.join()
        assert received == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)
