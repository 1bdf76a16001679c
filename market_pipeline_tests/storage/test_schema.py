"""The schema: what is found, which command fixes it, and that the migrations create the declared tables."""

import re
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from market_pipeline.storage.db_errors import DatabaseUnavailable, SchemaMismatch
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import REVISION, VERSION_TABLE, alembic_config, check_schema, migrate


def run(database: Database, statement: str) -> None:
    with database.writing() as connection:
        connection.execute(text(statement))


def names(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(inspect(connection).get_table_names())


def test_an_empty_database_says_how_to_make_the_tables(empty_database: Database) -> None:
    with pytest.raises(SchemaMismatch, match=r"(has no tables|does not exist) .*`market-pipeline migrate"):
        check_schema(empty_database)
    if empty_database.dialect == "sqlite":
        assert not Path(str(empty_database.url.database)).exists(), "a look creates no file"


def test_migrating_makes_the_tables_once_and_for_all(empty_database: Database) -> None:
    migrate(empty_database)
    check_schema(empty_database)
    assert names(empty_database) == {*tables.metadata.tables, VERSION_TABLE}
    migrate(empty_database)
    check_schema(empty_database)


def test_an_older_schema_says_how_to_update_it(database: Database) -> None:
    run(database, f"UPDATE {VERSION_TABLE} SET version_num = '0000'")
    with pytest.raises(SchemaMismatch, match=f"0000.*{REVISION}.*market-pipeline migrate"):
        check_schema(database)
    run(database, f"DELETE FROM {VERSION_TABLE}")
    with pytest.raises(SchemaMismatch, match="market-pipeline migrate"):
        check_schema(database)


def test_a_newer_schema_says_to_update_the_package_and_is_left_alone(database: Database) -> None:
    run(database, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    for work in (check_schema, migrate):
        with pytest.raises(SchemaMismatch, match=r"9999.*update market_pipeline"):
            work(database)


def test_tables_of_somebody_else_are_not_touched(empty_database: Database) -> None:
    run(empty_database, "CREATE TABLE raw_prices (note TEXT)")
    with pytest.raises(SchemaMismatch, match="raw_prices, which this project did not create"):
        migrate(empty_database)
    assert names(empty_database) == {"raw_prices"}


def test_another_project_that_uses_alembic_may_live_in_the_same_database(empty_database: Database) -> None:
    """Dagster keeps its own storage in PostgreSQL under `alembic_version`."""
    run(empty_database, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    run(empty_database, "INSERT INTO alembic_version VALUES ('f495c27d5019')")
    migrate(empty_database)
    check_schema(empty_database)
    with empty_database.reading() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "f495c27d5019"


def test_a_migration_that_fails_leaves_nothing(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "upgrade", lambda config, target: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        migrate(empty_database)
    assert names(empty_database) == set()


def test_the_revision_is_the_newest_migration() -> None:
    config = alembic_config(None)
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_migrations_make_exactly_the_tables(database: Database) -> None:
    with database.reading() as connection:
        options = {"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata) == []


def test_migrations_make_exactly_the_constraints(database: Database) -> None:
    """What Alembic does not compare: checks, and on PostgreSQL the comments of columns."""
    with database.reading() as connection:
        found = inspect(connection)
        for table in tables.metadata.sorted_tables:
            checks = {c.name for c in table.constraints if "Check" in type(c).__name__}
            assert {check["name"] for check in found.get_check_constraints(table.name)} == checks
            assert found.get_pk_constraint(table.name)["constrained_columns"] == [
                c.name for c in table.primary_key
            ]
            if database.dialect == "postgresql":
                comments = {column["name"]: column["comment"] for column in found.get_columns(table.name)}
                assert comments == {column.name: column.comment for column in table.columns}
                assert found.get_table_comment(table.name)["text"] == table.comment


def test_every_migration_can_be_taken_back(database: Database) -> None:
    with database.writing() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert names(database) == {VERSION_TABLE}
    migrate(database)
    check_schema(database)


def _view_on_old_anomalies(database: Database, column: str) -> None:
    """`database` before the anomalies got their kinds, with a row and a view that a person made."""
    with database.writing() as connection:
        command.downgrade(alembic_config(connection), "0002")
        when = 0 if database.dialect == "sqlite" else "'2024-03-01T00:00Z'"
        connection.execute(text(
            "INSERT INTO price_anomalies (symbol, timestamp, detector, score, threshold, direction, price_before, "
            "timestamp_before, price_after, move, elapsed_seconds, explanation) VALUES "
            f"('BTC', {when}, 'ewma', 6, 5, 'down', 100, {when}, 94, -0.06, 300, 'BTC fell.')"
        ))
        connection.execute(text(f"CREATE VIEW mine AS SELECT {column} FROM price_anomalies"))


def test_a_view_still_answers_after_a_table_was_set_aside(sqlite_database: Database) -> None:
    _view_on_old_anomalies(sqlite_database, "symbol, move")
    run(sqlite_database, "CREATE VIEW broken AS SELECT * FROM absent")
    migrate(sqlite_database)
    check_schema(sqlite_database)
    with sqlite_database.reading() as connection:
        assert [tuple(row) for row in connection.execute(text("SELECT * FROM mine"))] == [("BTC", -0.06)]


def test_a_view_that_would_not_answer_stops_the_migration(database: Database) -> None:
    _view_on_old_anomalies(database, "detector")
    with pytest.raises(SchemaMismatch, match=r"mine.*; drop .*market-pipeline migrate"):
        migrate(database)
    with database.reading() as connection:
        assert [tuple(row) for row in connection.execute(text("SELECT * FROM mine"))] == [("ewma",)]
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == "0002"
    run(database, "DROP VIEW mine")
    migrate(database)
    check_schema(database)


def test_a_new_migration_is_written_from_the_template(tmp_path: Path) -> None:
    """`script.py.mako` is used only to add a revision."""
    config = alembic_config(None)
    script = ScriptDirectory(
        str(Path(tables.__file__).parents[1] / "migrations"), version_locations=[str(tmp_path)]
    )
    script.generate_revision("9999", "Add a table", head="base", config=config)
    (written,) = tmp_path.glob("*.py")
    text = written.read_text()
    compile(text, str(written), "exec")
    assert text.startswith('"""Add a table."""')
    assert re.search(r"revision = ['\"]9999['\"]", text)


def test_a_schema_that_cannot_be_read_is_not_taken_for_an_empty_one(sqlite_database: Database) -> None:
    """The remedy for a broken database is not to migrate it."""
    migrate(sqlite_database)
    sqlite_database.dispose()
    file = Path(str(sqlite_database.url.database))
    file.write_bytes(file.read_bytes()[:100] + b"\xff" * 5000)
    with pytest.raises(DatabaseUnavailable, match=r"malformed|not a database"):
        check_schema(sqlite_database)


def test_a_revision_that_cannot_be_read_is_not_a_matter_of_migrating(database: Database) -> None:
    run(database, f"DROP TABLE {VERSION_TABLE}")
    run(database, f"CREATE TABLE {VERSION_TABLE} (note TEXT)")
    with pytest.raises(DatabaseUnavailable, match=r"cannot be read: .*version_num"):
        check_schema(database)
