"""The errors of the database as a person reads them, in `sentences.txt`.

After a change of wording run with UPDATE_SENTENCES=1 and read the difference.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import URL, make_url, text

from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.migrate import VERSION_TABLE, alembic_config, check_schema, migrate
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import check_sentences, price_row, prices_of
from market_pipeline_tests.postgres import Databases, administering


def run(database: Database, *statements: str) -> None:
    with database.writing() as connection:
        for statement in statements:
            connection.execute(text(statement))


def insert(price: float) -> Callable[[Database], object]:
    return lambda database: upsert(database, raw_prices, prices_of(price_row(price=price)))


def test_the_errors_read_as_in_the_file(
    sqlite_database: Database, postgres_databases: Databases, postgres_server: URL, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentences: list[str] = []

    def note(work: Callable[[Database], object], database: Database) -> None:
        with pytest.raises(StorageError) as caught:
            work(database)
        database.dispose()
        masked = str(caught.value).replace(str(tmp_path), "/folder")
        masked = re.sub(r"(user )?postgres(ql\+psycopg2)?://\S+?:(?= |$)", "URL:", masked)
        sentences.append(re.sub(r"host=%2F[^&\s:]+", "host=SOCKET", re.sub(r"\btest_\d+", "prices", masked)))

    def file(name: str) -> Database:
        return Database(make_url(f"sqlite:///{tmp_path / name}"))

    note(check_schema, file("absent.db"))
    note(check_schema, file("absent/prices.db"))
    (tmp_path / "letter.db").write_text("This is a letter, not a database, and long enough to be sure of that. " * 20)
    note(check_schema, file("letter.db"))
    run(file("other.db"), "CREATE TABLE raw_prices (note TEXT)")
    note(migrate, file("other.db"))
    note(insert(-1.0), sqlite_database)
    monkeypatch.setattr("market_pipeline.storage.engine._PRAGMAS", ("PRAGMA busy_timeout=50",))
    with sqlite_database.writing():
        note(insert(1.0), Database(sqlite_database.url))
    for revision in ("0000", "9999"):
        run(sqlite_database, f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'")
        note(check_schema, sqlite_database)
    migrate(file("views.db"))
    with file("views.db").writing() as connection:
        command.downgrade(alembic_config(connection), "0002")
    run(file("views.db"), "CREATE VIEW mine AS SELECT detector FROM price_anomalies")
    note(migrate, file("views.db"))

    url = postgres_databases.make()
    note(check_schema, Database(url.update_query_dict({"options": "-csearch_path=none"})))
    migrate(Database(url))
    with administering(url) as administer:
        administer("CREATE SCHEMA dev")
        administer("CREATE ROLE visitor LOGIN")
        administer("GRANT SELECT ON ALL TABLES IN SCHEMA public TO visitor")
    note(check_schema, Database(url.update_query_dict({"options": "-csearch_path=dev,public"})))
    run(Database(url), f"UPDATE {VERSION_TABLE} SET version_num = '0009'")
    note(check_schema, Database(url.set(username="visitor")))
    with administering(url) as administer:
        administer("GRANT CREATE ON SCHEMA public TO visitor")
    note(migrate, Database(url.set(username="visitor")))
    note(check_schema, Database(make_url("postgresql+psycopg2://me@no-such-host.invalid/prices")))
    check_sentences(Path(__file__).with_name("sentences.txt"), sentences)
