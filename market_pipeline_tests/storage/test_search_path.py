"""Tables belong to the first schema of PostgreSQL's search path, and to a role that may create them."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
from sqlalchemy import URL, text

from market_pipeline.storage.db_errors import SchemaMismatch
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import VERSION_TABLE, check_schema, migrate
from market_pipeline_tests.builders import price_row, prices_of
from market_pipeline_tests.postgres import Databases, administering

OURS = {*tables.metadata.tables, VERSION_TABLE}


Search = Callable[[str], Database]
Work = Callable[[Database], None]
both = pytest.mark.parametrize("work", [check_schema, migrate])


@pytest.fixture
def schemas(postgres_database: Database) -> Iterator[Search]:
    """`schemas(path)`: the database with that search path; `public` has the tables, `dev` is empty."""
    opened: list[Database] = []

    def search(path: str) -> Database:
        url = postgres_database.url.update_query_dict({"options": f"-csearch_path={path}"})
        opened.append(Database(url))
        return opened[-1]

    with postgres_database.writing() as connection:
        connection.execute(text("CREATE SCHEMA dev"))
    yield search
    for database in opened:
        database.dispose()
    with postgres_database.writing() as connection:
        connection.execute(text("DROP SCHEMA dev CASCADE"))


def tables_in(database: Database, schema: str) -> set[str]:
    with database.reading() as connection:
        query = text("SELECT tablename FROM pg_tables WHERE schemaname = :schema")
        return set(connection.execute(query, {"schema": schema}).scalars())


@both
def test_the_tables_of_a_later_schema_are_not_used(schemas: Search, work: Work) -> None:
    with pytest.raises(SchemaMismatch, match=r"dev.*public.*search_path%3Ddev"):
        work(schemas("dev,public"))
    assert tables_in(schemas("public"), "dev") == set()


@pytest.mark.parametrize("path", ["none,public", '"$user",none,public', '"None"'])
@both
def test_a_schema_that_does_not_exist_is_not_passed_over(schemas: Search, work: Work, path: str) -> None:
    with pytest.raises(SchemaMismatch, match=r"schema [nN]one .*CREATE SCHEMA"):
        work(schemas(path))


def test_the_first_schema_is_migrated_and_written_alone(schemas: Search) -> None:
    dev = schemas("dev")
    with pytest.raises(SchemaMismatch, match="no tables"):
        check_schema(dev)
    migrate(dev)
    assert tables_in(dev, "dev") == OURS
    both = schemas("dev,public")
    check_schema(both)
    migrate(both)
    upsert(both, tables.raw_prices, prices_of(price_row()))
    with both.reading() as connection:
        counts = [connection.execute(text(f"SELECT count(*) FROM {schema}.raw_prices")).scalar()
                  for schema in ("dev", "public")]
    assert counts == [1, 0]


def test_a_schema_that_the_first_migration_asks_for_is_created(empty_postgres_url: URL) -> None:
    """Later ones refuse a schema that does not exist: it would begin with empty tables."""
    for path, words in (("market", ""), ("markte", "schema markte .*CREATE SCHEMA")):
        database = Database(empty_postgres_url.update_query_dict({"options": f"-csearch_path={path}"}))
        with pytest.raises(SchemaMismatch, match=words) if words else nullcontext():
            migrate(database)
            check_schema(database)
            assert tables_in(database, "market") == OURS
        database.dispose()


@pytest.fixture
def newcomer(postgres_databases: Databases, postgres_server: URL) -> Iterator[tuple[Database, Database]]:
    """A database whose owner is another role; `newcomer` may connect to it."""
    owned = postgres_databases.make()
    with administering(postgres_server) as run:
        if not run("SELECT 1 FROM pg_roles WHERE rolname = 'newcomer'"):
            run("CREATE ROLE newcomer LOGIN")
    database = Database(owned.set(username="newcomer"))
    yield database, Database(owned)
    database.dispose()


@both
def test_a_role_that_may_not_create_tables_gets_the_grant(newcomer: tuple[Database, Database], work: Work) -> None:
    database, owner = newcomer
    with pytest.raises(SchemaMismatch, match="newcomer may not create tables") as caught:
        work(database)
    statement = "GRANT CREATE ON SCHEMA public TO newcomer"
    assert str(caught.value).endswith(f"ALTER DATABASE {owner.url.database} OWNER TO newcomer, or {statement}")
    with administering(owner.url) as run:
        run(statement)
    migrate(database)
    check_schema(database)


def test_the_error_for_a_role_that_does_not_own_the_tables_names_the_owner(newcomer: tuple[Database, Database]) -> None:
    database, owner = newcomer
    migrate(owner)
    with administering(owner.url) as run:
        run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO newcomer")
        run("GRANT CREATE ON SCHEMA public TO newcomer")
    migrate(database)
    with administering(owner.url) as run:
        run(f"UPDATE {VERSION_TABLE} SET version_num = '0003'")
    for work in (check_schema, migrate):
        with pytest.raises(SchemaMismatch, match="belong to postgres"):
            work(database)
    owner.dispose()
