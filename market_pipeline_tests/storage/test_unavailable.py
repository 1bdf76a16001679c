"""A database that cannot be used is named, with the reason, and never with its password."""

import gc
import os
import sqlite3
from datetime import date
from pathlib import Path

import pytest
from psycopg2.extensions import make_dsn
from sqlalchemy import URL, text
from sqlalchemy.engine import make_url

from market_pipeline.core.clock import utc_now
from market_pipeline.core.slices import Slice
from market_pipeline.logs.redaction import spellings
from market_pipeline.storage.db_errors import DatabaseUnavailable, StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import integrity, latest
from market_pipeline.storage.rows.read import read_columns, read_frame
from market_pipeline.storage.rows.write import replace, upsert
from market_pipeline.storage.schema.migrate import check_schema, migrate
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import anomalies_of, price_row, prices_of

CANARY = "canary%40pass"
DAYS = [Slice("BTC", date(2024, 3, 1), date(2024, 3, 1))]


def everything(error):
    """The words of an error and of all that it came from."""
    told = []
    while error is not None:
        told += [str(error), repr(error), repr(getattr(error, "args", ""))]
        error = error.__cause__ or error.__context__
    return "\n".join(told)


@pytest.fixture
def ways(monkeypatch):
    """Every way to the database, by name; the bulk ones with a single row."""

    def bulk(work):
        def run(database):
            monkeypatch.setattr("market_pipeline.storage.rows.write.BULK_FROM", 0)
            try:
                work(database)
            finally:
                monkeypatch.undo()

        return run

    return {
        "check_schema": check_schema,
        "migrate": migrate,
        "upsert": lambda database: upsert(database, raw_prices, prices_of(price_row())),
        "bulk upsert": bulk(lambda database: upsert(database, raw_prices, prices_of(price_row()))),
        "replace": lambda database: replace(database, price_anomalies, anomalies_of(), DAYS),
        "bulk replace": bulk(lambda database: replace(database, price_anomalies, anomalies_of(), DAYS)),
        "read_columns": lambda database: read_columns(database, raw_prices, DAYS),
        "read_frame": lambda database: read_frame(database, raw_prices, DAYS),
        "audit": lambda database: integrity.quotes_not_positive(database, DAYS),
        "overview": lambda database: latest.latest_quotes(database, ["BTC"], utc_now()),
    }


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
def test_a_server_that_is_not_there_is_unavailable_by_every_way(ways, host):
    database = Database(make_url(f"postgresql+psycopg2://me:{CANARY}@{host}/prices"))
    for name, way in ways.items():
        ends = r"cannot be reached: .*[^?.][?.] DATABASE_URL names it\.$"
        with pytest.raises(DatabaseUnavailable, match=ends) as caught:
            way(database)
        assert "canary" not in everything(caught.value), name
    assert "canary" not in repr(database)


def test_a_database_that_is_not_there_is_unavailable_by_every_way(ways, postgres_server):
    url = postgres_server.set(database="absent", password="canary@pass")
    for name, way in ways.items():
        with pytest.raises(DatabaseUnavailable, match='database "absent" does not exist') as caught:
            way(Database(url))
        assert "canary" not in everything(caught.value), name


def test_a_folder_that_is_not_there_is_named_by_every_way(ways, tmp_path):
    database = Database(make_url(f"sqlite:///{tmp_path}/absent/prices.db"))
    for way in ways.values():
        with pytest.raises(DatabaseUnavailable, match=f"the folder {tmp_path}/absent does not exist"):
            way(database)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named_by_every_way(ways, tmp_path):
    database = Database(make_url(f"sqlite:///{tmp_path / 'prices.db'}"))
    migrate(database)
    database.dispose()
    tmp_path.chmod(0o500)
    try:
        for way in ways:
            with pytest.raises(DatabaseUnavailable, match=f"the folder {tmp_path} cannot be written"):
                ways[way](database)
    finally:
        tmp_path.chmod(0o700)


def test_the_log_of_writes_is_cut_after_a_long_reader(sqlite_database):
    """SQLite itself would keep the file at the size that it reached behind the reader."""
    wal = Path(f"{sqlite_database.url.database}-wal")
    with sqlite_database.writing() as connection:
        connection.execute(text("CREATE TABLE filler (bytes)"))
    with sqlite_database.reading() as reader:
        reader.execute(text("SELECT * FROM filler")).all()
        with sqlite_database.writing() as connection:
            connection.execute(text("INSERT INTO filler SELECT zeroblob(90000000)"))
    for _ in range(2):
        with sqlite_database.writing() as connection:
            connection.execute(text("INSERT INTO filler VALUES (1)"))
    assert wal.stat().st_size <= 67_108_864


def test_a_file_that_is_no_database_is_unavailable(ways, tmp_path):
    file = tmp_path / "prices.db"
    file.write_text("This is a letter, not a database, and long enough to be sure of that. " * 20)
    for way in ways.values():
        with pytest.raises(DatabaseUnavailable, match="prices.db cannot be opened: file is not a database"):
            way(Database(make_url(f"sqlite:///{file}")))


def test_a_refused_write_does_not_repeat_the_password(postgres_database, path):
    database = Database(postgres_database.url.set(password=CANARY))
    with pytest.raises(StorageError, match="price_is_positive") as caught:
        upsert(database, raw_prices, prices_of(price_row(price=-1.0)))
    assert "canary" not in everything(caught.value)
    database.dispose()


@pytest.mark.parametrize("password", ["s3cret", "correct horse!", "it's a \\ back\nslash", "ümlaut+%/@ word"])
def test_a_password_that_a_driver_repeats_is_hidden_in_every_spelling(password):
    url = URL.create("postgresql+psycopg2", "me", password, "host", database="prices")
    database = Database(url)
    for spelling in (*spellings(password), str(make_dsn(password=password)), url.render_as_string(False)):
        hidden = database.without_password(f"no: {spelling} is wrong")
        assert not [form for form in spellings(password) if form in hidden], spelling


@pytest.mark.parametrize("password", [None, "p", "abc"])
def test_what_no_password_is_stays_as_it_is(password):
    """A password of one letter would be cut out of every word."""
    url = URL.create("postgresql+psycopg2", "me", password, "host", database="prices")
    said = "connection to server, port 5432 failed: timeout expired"
    assert Database(url).without_password(said) == said


def test_a_connection_that_died_in_the_pool_is_replaced(postgres_database, postgres_server):
    upsert(postgres_database, raw_prices, prices_of(price_row()))
    other = Database(postgres_server)
    with other.writing() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": postgres_database.url.database},
        )
    other.dispose()
    assert len(read_columns(postgres_database, raw_prices, DAYS)) == 1


def test_a_writer_that_waits_in_vain_says_who_is_in_the_way(sqlite_database, monkeypatch):
    monkeypatch.setattr("market_pipeline.storage.engine._PRAGMAS", ("PRAGMA busy_timeout=50",))
    impatient = Database(sqlite_database.url)
    with sqlite_database.writing():
        with pytest.raises(DatabaseUnavailable, match="another writer has held its lock for 30 s"):
            upsert(impatient, raw_prices, prices_of(price_row()))
    impatient.dispose()


def test_a_postgresql_server_that_is_gone_without_a_word_is_noticed(postgres_database):
    """The system's own patience with a silent network is two hours."""
    with postgres_database.reading() as connection:
        told = connection.connection.driver_connection.info.dsn_parameters
    assert int(told["keepalives_idle"]) + int(told["keepalives_interval"]) * int(told["keepalives_count"]) <= 20
    assert int(told["tcp_user_timeout"]) <= 20_000


def test_connections_are_closed_with_the_database_they_belong_to(sqlite_database):
    """Python 3.13 would warn of each."""
    other = Database(sqlite_database.url)
    with other.reading() as reading, other.writing() as writing:
        connections = [one.connection.driver_connection for one in (reading, writing)]
    del other, reading, writing
    gc.collect()
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
