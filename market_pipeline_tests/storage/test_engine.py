"""Connections: many processes and threads at once, databases that cannot be used, files that are replaced."""

import gc
import os
import shutil
import sqlite3
import threading
import traceback
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import make_dsn
from sqlalchemy import URL, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from market_pipeline.core.clock import utc_now
from market_pipeline.core.slices import Slice
from market_pipeline.logs.redaction import spellings
from market_pipeline.storage.db_errors import DatabaseUnavailable, StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.exclusive import exclusive
from market_pipeline.storage.queries import integrity, latest
from market_pipeline.storage.rows import write
from market_pipeline.storage.rows.read import read_columns, read_many_columns
from market_pipeline.storage.rows.write import replace, upsert
from market_pipeline.storage.schema.migrate import check_schema, migrate
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import (
    START,
    anomalies_of,
    at,
    price_row,
    prices_of,
    stored_rows,
    wait_for,
)
from market_pipeline_tests.forking import start_fork

CANARY = "canary%40pass"
DAYS = [Slice("BTC", date(2024, 3, 1), date(2024, 3, 1))]
PROCESSES, WRITES, ROWS = 3, 20, 5


def _write_many(url: URL, number: int) -> None:
    """Migrate, then write the same times of a shared symbol and of an own one; every fifth write in bulk."""
    database = Database(url)
    migrate(database)
    for turn in range(WRITES):
        write.BULK_FROM = 0 if turn % 5 == 4 else 1_000_000
        rows = [
            price_row(symbol, timestamp=START.replace(minute=turn, second=row), price=1.0 + number)
            for symbol in ("ALL", f"P{number}")
            for row in reversed(range(ROWS))
        ]
        upsert(database, raw_prices, prices_of(*rows))
    database.dispose()


@pytest.mark.slow
def test_processes_that_migrate_and_write_at_once_lose_no_rows(empty_database: Database) -> None:
    """None is refused; on PostgreSQL rows are locked in one order, so that writers do not deadlock."""
    database = empty_database
    workers = [start_fork(_write_many, database.url, n) for n in range(PROCESSES)]
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    for symbol in ("ALL", *(f"P{n}" for n in range(PROCESSES))):
        assert len(read_columns(database, raw_prices, [Slice(symbol, START.date(), START.date())])) == WRITES * ROWS


def test_a_writer_waits_for_another_and_then_writes(database: Database, path: str) -> None:
    done = threading.Event()

    def second() -> None:
        upsert(database, raw_prices, prices_of(price_row(price=2.0)))
        done.set()

    waiting = threading.Thread(target=second)
    with database.writing() as connection:
        connection.execute(raw_prices.insert(), price_row(price=1.0))
        waiting.start()
        assert not done.wait(0.2)
    waiting.join(20)
    assert done.is_set() and [row["price"] for row in stored_rows(database, raw_prices)] == [2.0]


def test_a_block_that_raises_leaves_nothing_and_a_disposed_database_stays_usable(database: Database) -> None:
    def fail() -> None:
        with database.writing() as connection:
            connection.execute(raw_prices.insert(), price_row())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert stored_rows(database, raw_prices) == []
    database.dispose()
    database.dispose()
    upsert(database, raw_prices, prices_of(price_row()))
    assert stored_rows(database, raw_prices) == [price_row()]


def test_exclusive_work_waits_for_its_like_and_not_for_other_work(database: Database) -> None:
    """The lock is released however the work ends."""
    waiting, entered = threading.Event(), threading.Event()

    def second() -> None:
        other = Database(database.url)
        with exclusive(other, "backfill", waiting.set):
            entered.set()
        other.dispose()

    thread = threading.Thread(target=second)

    def first() -> None:
        with exclusive(database, "backfill", lambda: None):
            thread.start()
            wait_for(waiting.is_set, 60, "the second to wait")
            with exclusive(database, "another", lambda: waiting.clear()):
                assert waiting.is_set() and not entered.is_set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first()
    wait_for(entered.is_set, 60, "the second to enter")
    thread.join()


def everything(error: BaseException | None) -> str:
    """The messages of an error and of all its causes."""
    found = []
    while error is not None:
        found += [str(error), repr(error), repr(getattr(error, "args", ""))]
        error = error.__cause__ or error.__context__
    return "\n".join(found)


Ways = dict[str, Callable[[Database], Any]]


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    """Every way to the database, by name; the bulk ones with a single row."""
    def bulk(work: Callable[[Database], Any]) -> Callable[[Database], Any]:
        def run(database: Database) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(write, "BULK_FROM", 0)
                work(database)

        return run

    def insert(database: Database) -> None:
        upsert(database, raw_prices, prices_of(price_row()))

    def empty(database: Database) -> None:
        replace(database, price_anomalies, anomalies_of(), DAYS)

    return {
        "check_schema": check_schema,
        "migrate": migrate,
        "upsert": insert,
        "bulk upsert": bulk(insert),
        "replace": empty,
        "bulk replace": bulk(empty),
        "read": lambda database: read_columns(database, raw_prices, DAYS),
        "bulk read": lambda database: read_many_columns(database, raw_prices, DAYS),
        "query": lambda database: integrity.quotes_not_positive(database, DAYS),
        "latest": lambda database: latest.latest_quotes(database, ["BTC"], utc_now()),
    }


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
def test_a_server_that_is_not_there_is_unavailable_by_every_way(ways: Ways, host: str) -> None:
    database = Database(make_url(f"postgresql+psycopg2://me:{CANARY}@{host}/prices"))
    for name, way in ways.items():
        with pytest.raises(DatabaseUnavailable, match=r"cannot be reached: .*[^?.][?.] DATABASE_URL") as caught:
            way(database)
        assert "canary" not in everything(caught.value), name
    assert "canary" not in repr(database)


def test_a_database_that_is_not_there_is_unavailable_by_every_way(ways: Ways, postgres_server: URL) -> None:
    url = postgres_server.set(database="absent", password="canary@pass")
    for name, way in ways.items():
        with pytest.raises(DatabaseUnavailable, match='database "absent" does not exist') as caught:
            way(Database(url))
        assert "canary" not in everything(caught.value), name


def test_a_file_that_cannot_be_opened_is_unavailable_by_every_way(ways: Ways, tmp_path: Path) -> None:
    letter = tmp_path / "letter.db"
    letter.write_text("This is a letter, not a database, and long enough to be sure of that. " * 20)
    for file, reason in ((tmp_path / "absent" / "prices.db", "absent does not exist"), (letter, "not a database")):
        for way in ways.values():
            with pytest.raises(DatabaseUnavailable, match=reason):
                way(Database(make_url(f"sqlite:///{file}")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named_by_every_way(ways: Ways, tmp_path: Path) -> None:
    database = Database(make_url(f"sqlite:///{tmp_path / 'prices.db'}"))
    migrate(database)
    database.dispose()
    tmp_path.chmod(0o500)
    try:
        for way in ways.values():
            with pytest.raises(DatabaseUnavailable, match=f"the folder {tmp_path} cannot be written"):
                way(database)
    finally:
        tmp_path.chmod(0o700)


def test_a_writer_that_waits_too_long_is_unavailable(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market_pipeline.storage.engine._PRAGMAS", ("PRAGMA busy_timeout=50",))
    impatient = Database(sqlite_database.url)
    with sqlite_database.writing(), pytest.raises(DatabaseUnavailable, match="lock"):
        upsert(impatient, raw_prices, prices_of(price_row()))
    impatient.dispose()


def test_the_wal_is_truncated_after_a_long_reader(sqlite_database: Database) -> None:
    """By default SQLite would leave the file at the size that it reached behind the reader."""
    with sqlite_database.writing() as connection:
        connection.execute(text("CREATE TABLE filler (bytes)"))
    with sqlite_database.reading() as reader:
        reader.execute(text("SELECT * FROM filler")).all()
        with sqlite_database.writing() as connection:
            connection.execute(text("INSERT INTO filler SELECT zeroblob(90000000)"))
    for _ in range(2):
        with sqlite_database.writing() as connection:
            connection.execute(text("INSERT INTO filler VALUES (1)"))
    assert Path(f"{sqlite_database.url.database}-wal").stat().st_size <= 67_108_864


def test_a_refused_write_does_not_repeat_the_password(postgres_database: Database, path: str) -> None:
    database = Database(postgres_database.url.set(password=CANARY))
    with pytest.raises(StorageError, match="price_is_positive") as caught:
        upsert(database, raw_prices, prices_of(price_row(price=-1.0)))
    assert "canary" not in everything(caught.value)
    database.dispose()


def test_an_error_of_a_query_does_not_repeat_the_password(postgres_database: Database) -> None:
    database = Database(postgres_database.url.set(password=CANARY))
    query = text("SELECT CAST(:word AS integer)").bindparams(word=CANARY)
    with pytest.raises(DatabaseUnavailable, match="invalid input syntax") as caught, database.reading() as connection:
        connection.execute(query)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    database.dispose()


@pytest.mark.parametrize("password", ["s3cret", "correct horse!", "it's a \\ back\nslash", "ümlaut+%/@ word"])
def test_a_password_that_a_driver_repeats_is_masked_in_every_spelling(password: str) -> None:
    url = URL.create("postgresql+psycopg2", "me", password, "host", database="prices")
    database = Database(url)
    for spelling in (*spellings(password), str(make_dsn(password=password)), url.render_as_string(False)):
        masked = database.without_password(f"no: {spelling} is wrong")
        assert not [form for form in spellings(password) if form in masked], spelling


@pytest.mark.parametrize("password", [None, "p", "abc"])
def test_a_message_without_the_password_stays_as_it_is(password: str | None) -> None:
    """A password of one letter would be cut out of every word."""
    url = URL.create("postgresql+psycopg2", "me", password, "host", database="prices")
    message = "connection to server, port 5432 failed: timeout expired"
    assert Database(url).without_password(message) == message


def test_a_connection_that_died_in_the_pool_is_replaced(postgres_database: Database, postgres_server: URL) -> None:
    upsert(postgres_database, raw_prices, prices_of(price_row()))
    other = Database(postgres_server)
    with other.writing() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": postgres_database.url.database},
        )
    other.dispose()
    assert len(read_columns(postgres_database, raw_prices, DAYS)) == 1


def test_a_postgresql_server_that_is_gone_is_noticed_within_20_seconds(postgres_database: Database) -> None:
    """The system's own timeout is two hours."""
    with postgres_database.reading() as connection:
        driver: Any = connection.connection.driver_connection
        used = {name: int(value) for name, value in driver.info.dsn_parameters.items() if value.isdigit()}
    assert used["keepalives_idle"] + used["keepalives_interval"] * used["keepalives_count"] <= 20
    assert used["tcp_user_timeout"] <= 20_000


def test_connections_are_closed_with_the_database_they_belong_to(sqlite_database: Database) -> None:
    """Python 3.13 would warn of each."""
    other = Database(sqlite_database.url)
    with other.reading() as reading, other.writing() as writing:
        connections: list[Any] = [one.connection.driver_connection for one in (reading, writing)]
    del other, reading, writing
    gc.collect()
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_a_replaced_file_is_read_and_written_by_new_transactions_only(
    sqlite_database: Database, sqlite_template: Path, tmp_path: Path
) -> None:
    """As after `rm prices.db` or a restored backup, beside an API that is running."""
    def count() -> int:
        return len(latest.latest_quotes(sqlite_database, ["BTC"], at(0)))

    upsert(sqlite_database, raw_prices, prices_of(price_row()))
    with sqlite_database.reading() as connection:
        for rest in ("-wal", "-shm"):
            (tmp_path / f"prices.db{rest}").unlink(missing_ok=True)
        os.replace(shutil.copyfile(sqlite_template, tmp_path / "other.db"), tmp_path / "prices.db")
        assert len(connection.execute(raw_prices.select()).all()) == 1
    assert count() == 0
    assert upsert(sqlite_database, raw_prices, prices_of(price_row())) == 1
    assert count() == 1
    for file in tmp_path.glob("prices.db*"):
        file.unlink()
    with pytest.raises(OperationalError, match="no such table"):
        count()


def test_a_hint_of_the_database_follows_its_error_as_a_sentence() -> None:
    error = Database(make_url("sqlite:///none.db")).write_failed(
        raw_prices, "could not extend file: No space left on device\nHINT:  Check free disk space."
    )
    assert str(error).endswith("No space left on device. HINT: Check free disk space. Nothing was written.")
