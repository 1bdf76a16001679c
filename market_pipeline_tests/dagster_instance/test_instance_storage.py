"""Dagster's storage in PostgreSQL: from one setting, in a schema of its own, or refused with the remedy."""

import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster_postgres import PostgresEventLogStorage
from psycopg2.extensions import parse_dsn
from sqlalchemy import URL, create_engine, make_url, text

from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance import event_batches
from market_pipeline.dagster_instance.home import (
    HomeError,
    create_instance,
    only_daemon,
    open_instance,
    own_home,
    variables_of,
)
from market_pipeline.dagster_instance.instance_storage import FILES, InstanceStorage, storage_of
from market_pipeline.logs.redaction import secrets_of
from market_pipeline.settings import load_settings
from market_pipeline.storage.db_errors import SchemaMismatch
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate
from market_pipeline_tests.dagster_records import executed, state_of
from market_pipeline_tests.postgres import administering

PARTS = dg.StaticPartitionsDefinition([*"abcde"])
PASSWORD = "p@ss/w:rd %41"


@pytest.fixture
def role(empty_postgres_url: URL) -> Iterator[URL]:
    """An empty database as a role sees it that may connect, and has a difficult password."""
    with administering(empty_postgres_url) as run:
        run("CREATE ROLE keeper LOGIN PASSWORD 'p@ss/w\\:rd %41'")
        yield empty_postgres_url.set(username="keeper", password=PASSWORD)
        run("REASSIGN OWNED BY keeper TO postgres")
        run("DROP OWNED BY keeper")
        run("DROP ROLE keeper")


def storage_at(url: URL, dagster: URL | None = None, **fixed: Any) -> InstanceStorage:
    given = {"dagster_database_url": shown(dagster)} if dagster else {}
    return storage_of(load_settings(env_file=None, database_url=shown(url), **given, **fixed))


def shown(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def only(url: URL, statement: str) -> object:
    with create_engine(url).connect() as connection:
        return connection.execute(text(statement)).scalar()


@pytest.mark.parametrize(("database", "dagster", "wanted"), [
    ("postgres://u:a%20b%40%2F@h/db", None, "-csearch_path=dagster -ctimezone=UTC"),
    ("postgresql+psycopg2://u:a%20b%40%2F@h/db?options=-csearch_path%3Dmarket", None,
     "-csearch_path=market -csearch_path=dagster -ctimezone=UTC"),
    ("sqlite:///prices.db", "postgresql://u:a%20b%40%2F@h/db?options=-cjit%3Doff",
     "-cjit=off -csearch_path=dagster -ctimezone=UTC"),
    ("postgresql://x@y/z", "postgresql://u:a%20b%40%2F@h/db?options=-c%20search_path%3Druns",
     "-c search_path=runs -ctimezone=UTC"),
])
def test_the_variable_has_the_address_and_the_schema(database: str, dagster: str | None, wanted: str) -> None:
    settings = load_settings(env_file=None, database_url=database, dagster_database_url=dagster or "")
    variables = storage_of(settings).variables
    assert "a b@/" in secrets_of(settings), "hidden in logs and errors"
    url = make_url(variables["DAGSTER_DATABASE_URL"])
    _, found = url.get_dialect()().create_connect_args(url)
    assert url.drivername == "postgresql+psycopg2", "SQLAlchemy's own choice may not work"
    assert (found["password"], found["host"], found["options"]) == ("a b@/", "h", wanted)
    assert found["connect_timeout"] and found["tcp_user_timeout"], "a server that never answers"
    assert variables["DAGSTER_EVENT_BATCH_SIZE"] == "1000"
    # What the children of a command read.
    again = load_settings(env_file=None, **{name.lower(): value for name, value in variables.items()})
    assert parse_dsn(storage_of(again).variables["DAGSTER_DATABASE_URL"].replace("+psycopg2", "")) == parse_dsn(
        variables["DAGSTER_DATABASE_URL"].replace("+psycopg2", "")
    )


def test_batches_are_as_large_as_the_setting_says() -> None:
    assert storage_of(load_settings(env_file=None)).variables == {"DAGSTER_EVENT_BATCH_SIZE": "1000"}
    assert storage_of(load_settings(env_file=None, dagster_event_batch_size="7")).batch_size == 7


def test_an_instance_is_created_beside_the_prices_and_another_alembic_project(tmp_path: Path, role: URL) -> None:
    with administering(role.set(username="postgres", password=None)) as run:
        run(f"ALTER DATABASE {role.database} OWNER TO keeper")
        run(f"ALTER DATABASE {role.database} SET timezone = 'Pacific/Chatham'")
        run("CREATE TABLE alembic_version (version_num varchar(32))")
        run("INSERT INTO alembic_version VALUES ('theirs')")
        run("GRANT ALL ON alembic_version TO keeper")
        run("CREATE TABLE runs (id int)")
    migrate(Database(role))
    storage = storage_at(role)
    with own_home(tmp_path, storage, ours=True):
        create_instance(tmp_path, storage)
    config = (tmp_path / "dagster.yaml").read_text()
    assert "keeper" not in config and PASSWORD not in config
    with open_instance(tmp_path, storage) as instance:
        run_id = instance.add_run(dg.DagsterRun("job")).run_id
        (record,) = instance.get_run_records()
        assert abs(record.create_timestamp - utc_now()) < timedelta(minutes=1), "Dagster takes local times for UTC"
        create_instance(tmp_path, storage)
        assert instance.get_run_by_id(run_id)
    assert only(role, "SELECT version_num FROM alembic_version") == "theirs"
    assert only(role, "SELECT count(*) FROM pg_tables WHERE schemaname = 'dagster'") == 22
    assert not list(tmp_path.glob("history*"))


def test_a_storage_that_moves_leaves_its_files_and_keeps_what_is_stopped(
    tmp_path: Path, home_template: Path, empty_postgres_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    home, storage = shutil.copytree(home_template, tmp_path / "home"), storage_at(empty_postgres_url)
    with open_instance(home) as files:
        state_of(files, "ledger_schedule", InstigatorStatus.STOPPED)
        state_of(files, "tick_schedule", InstigatorStatus.RUNNING)
        executed(files, "job")
    with own_home(home, storage, ours=True):
        create_instance(home, storage)
        create_instance(home, storage)
    with open_instance(home, storage) as instance:
        assert [state.name for state in instance.all_instigator_state()] == ["ledger_schedule"]
        assert instance.get_runs_count() == 0
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    for word in (f"runs (1) stay in {home / 'history'}", "migrate-db", "Stopped remain: ledger_schedule"):
        assert word in warning
    with own_home(home, ours=True), open_instance(home) as files:
        assert files.get_runs_count() == 1, "the way back"


def test_only_one_daemon_uses_a_storage(tmp_path: Path, empty_postgres_url: URL) -> None:
    storage = storage_at(empty_postgres_url)
    with own_home(tmp_path, storage, ours=True):
        storage.prepare(lambda: None)
        with only_daemon(tmp_path, storage):
            with pytest.raises(HomeError, match="already running elsewhere"), only_daemon(tmp_path, storage):
                pytest.fail("two daemons")
        with only_daemon(tmp_path, storage), only_daemon(tmp_path, FILES):
            pass


@pytest.mark.parametrize(("statements", "words"), [
    ([], ["schema dagster does not exist", "CREATE SCHEMA dagster AUTHORIZATION keeper"]),
    (["CREATE SCHEMA dagster"], ["may not create tables in schema dagster", "GRANT USAGE, CREATE ON SCHEMA dagster"]),
    (["CREATE SCHEMA dagster AUTHORIZATION keeper", "CREATE TABLE dagster.alembic_version (version_num text)"],
     ["has the alembic_version of another project", "options=-csearch_path%3Dname"]),
    (["CREATE SCHEMA dagster", "GRANT USAGE ON SCHEMA dagster TO keeper",
      *(f"CREATE TABLE dagster.{name} (id int)" for name in ("runs", "event_logs", "jobs"))],
     ["may not write to the tables in schema dagster", "GRANT ALL ON ALL TABLES IN SCHEMA dagster TO keeper"]),
])
def test_a_role_that_lacks_a_right_is_refused_with_the_remedy(
    role: URL, statements: list[str], words: list[str]
) -> None:
    with administering(role.set(username="postgres", password=None)) as run:
        for statement in statements:
            run(statement)
    with pytest.raises(SchemaMismatch) as refused:
        storage_at(role).prepare(lambda: pytest.fail("it was created"))
    assert all(word in str(refused.value) for word in words) and PASSWORD not in str(refused.value)


def test_a_schema_that_an_administrator_created_is_enough(role: URL) -> None:
    with administering(role.set(username="postgres", password=None)) as run:
        run("CREATE SCHEMA dagster AUTHORIZATION keeper")
    created: list[str] = []
    storage_at(role).prepare(lambda: created.append("it"))
    assert created == ["it"]


def test_a_search_path_that_does_not_arrive_is_refused(
    empty_postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a pooler that ignores `options`: Dagster's tables would come among the prices."""
    monkeypatch.setattr("market_pipeline.dagster_instance.instance_storage.requested_path", lambda url: "dagster")
    ignored = InstanceStorage(empty_postgres_url)
    with pytest.raises(SchemaMismatch, match='server, whose is "\\$user", public; name the server itself in'):
        ignored.prepare(lambda: pytest.fail("it was created"))


def test_materializations_of_a_run_are_stored_at_once_in_their_order(
    tmp_path: Path, empty_postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test of Dagster: that it has the variable and what it does with it."""
    @dg.asset(partitions_def=PARTS, backfill_policy=dg.BackfillPolicy.single_run())
    def numbers() -> int:
        return 1

    stored: list[list[str | None]] = []
    insert = event_batches._store_in_one_database

    def recorded(self: PostgresEventLogStorage, events: Sequence[dg.EventLogEntry]) -> None:
        found = [event.get_dagster_event() for event in events]
        stored.append([event.partition for event in found if event.is_step_materialization])
        insert(self, events)

    monkeypatch.setattr(event_batches, "_store_in_one_database", recorded)
    # To be restored: opening the instance replaces it.
    monkeypatch.setattr(PostgresEventLogStorage, "store_event_batch", PostgresEventLogStorage.store_event_batch)
    storage = storage_at(empty_postgres_url, dagster_event_batch_size=3)
    with own_home(tmp_path, storage, ours=True):
        create_instance(tmp_path, storage)
    with open_instance(tmp_path, storage) as instance, variables_of(storage):
        ends = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "e"}
        run = dg.materialize([numbers], instance=instance, tags=ends, resources={"io_manager": dg.mem_io_manager})
        records = instance.get_records_for_run(run.run_id).records
    batches = [batch for batch in stored if batch]
    assert [len(batch) for batch in batches] == [3, 2] and {*batches[0], *batches[1]} == {*"abcde"}
    events = [event for record in records if (event := record.event_log_entry.dagster_event)]
    assert [event.partition for event in events if event.is_step_materialization] == batches[0] + batches[1]
    types = [event.event_type_value for event in events]
    assert types.index("HANDLED_OUTPUT") == types.index("ASSET_MATERIALIZATION") + 5, "as they happened"
    assert os.environ.get("DAGSTER_EVENT_BATCH_SIZE") != "3"
