"""Tables belong to the first schema of PostgreSQL's search path, and to a role that may create them."""

import pytest
from sqlalchemy import text

from market_pipeline.storage.db_errors import SchemaMismatch
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import VERSION_TABLE, check_schema, migrate
from market_pipeline_tests.builders import price_row, prices_of
from market_pipeline_tests.postgres import administering

OURS = {*tables.metadata.tables, VERSION_TABLE}


@pytest.fixture
def schemas(postgres_database):
    """`schemas(path)`: the database with that search path; `public` has the tables, `dev` is empty."""
    opened = []

    def search(path):
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


def tables_in(database, schema):
    with database.reading() as connection:
        query = text("SELECT tablename FROM pg_tables WHERE schemaname = :schema")
        return set(connection.execute(query, {"schema": schema}).scalars())


@pytest.mark.parametrize("work", [check_schema, migrate])
def test_the_tables_of_a_schema_further_along_are_not_taken_for_ours(schemas, work):
    with pytest.raises(SchemaMismatch, match="begins with dev.* but public after it has.*search_path%3Ddev"):
        work(schemas("dev,public"))
    assert tables_in(schemas("public"), "dev") == set()


@pytest.mark.parametrize("path", ["none,public", '"$user",none,public', '"None"'])
@pytest.mark.parametrize("work", [check_schema, migrate])
def test_a_schema_that_does_not_exist_is_not_passed_over(schemas, work, path):
    with pytest.raises(SchemaMismatch, match="the schema [nN]one of its search_path .* does not exist.*CREATE SCHEMA"):
        work(schemas(path))


def test_the_first_schema_is_migrated_and_written_alone(schemas):
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


@pytest.fixture
def newcomer(postgres_databases, postgres_server):
    """A database whose owner is another role; `newcomer` may connect to it."""
    owned = postgres_databases.make()
    with administering(postgres_server) as run:
        if not run("SELECT 1 FROM pg_roles WHERE rolname = 'newcomer'"):
            run("CREATE ROLE newcomer LOGIN")
    database = Database(owned.set(username="newcomer"))
    yield database, Database(owned)
    database.dispose()


@pytest.mark.parametrize("work", [check_schema, migrate])
def test_a_role_that_may_not_create_is_told_the_grant(newcomer, work):
    database, owner = newcomer
    with pytest.raises(SchemaMismatch, match="the role newcomer may not create tables in schema public") as caught:
        work(database)
    statement = "GRANT CREATE ON SCHEMA public TO newcomer"
    assert str(caught.value).endswith(
        f"let an administrator of the server run ALTER DATABASE {owner.url.database} OWNER TO newcomer, or {statement}"
    )
    with administering(owner.url) as run:
        run(statement)
    migrate(database)
    check_schema(database)


def test_a_role_that_does_not_own_the_tables_is_told_who_does(newcomer):
    database, owner = newcomer
    migrate(owner)
    with administering(owner.url) as run:
        run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO newcomer")
        run("GRANT CREATE ON SCHEMA public TO newcomer")
    migrate(database)
    with administering(owner.url) as run:
        run(f"UPDATE {VERSION_TABLE} SET version_num = '0003'")
    for work in (check_schema, migrate):
        with pytest.raises(SchemaMismatch, match="the tables, which belong to postgres; .* as postgres"):
            work(database)
    owner.dispose()
