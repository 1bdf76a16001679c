"""Which schema of a PostgreSQL database holds the tables, and whether a role may change them.

The tables belong to the current schema, the first of the search path. A table that is only found
further along the path is another installation's: writing there would be writing into its prices.
"""

import re

from sqlalchemy import Connection, text

from market_pipeline.storage.errors import SchemaMismatch

# Of every visible version table the one that an unqualified name means.
_SEARCH = text(
    "SELECT current_schema() AS schema, current_setting('search_path') AS path, current_user AS role, "
    "(SELECT nspname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
    "WHERE pg_class.oid = to_regclass(:table)) AS holder"
)
_RIGHTS = text(
    "SELECT has_schema_privilege(n.oid, 'CREATE') AS may_create, quote_ident(current_user) AS role, "
    "quote_ident(current_database()) AS database, quote_ident(nspname) AS schema, "
    "pg_get_userbyid(nspowner) = 'pg_database_owner' AS of_database_owner, "
    "quote_ident(pg_get_userbyid(c.relowner)) AS owner, pg_has_role(c.relowner, 'USAGE') AS is_owner "
    "FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = :table "
    "WHERE nspname = current_schema()"
)
_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(?:,|$)')


def current_schema(connection: Connection) -> str | None:
    """The schema in which tables are created; None on SQLite."""
    if connection.dialect.name != "postgresql":
        return None
    schema: str | None = connection.execute(text("SELECT current_schema()")).scalar()
    return schema


def require_own_schema(connection: Connection, table: str) -> None:
    """SchemaMismatch if the search path does not begin with a schema, or `table` is found behind it only."""
    found = connection.execute(_SEARCH, {"table": table}).one()
    require_first(connection, found.path, found.schema, found.role)
    if found.holder not in (None, found.schema):
        raise behind(connection, found.schema, found.holder)


def require_first(connection: Connection, path: str, schema: str | None, role: str) -> None:
    """SchemaMismatch unless `schema`, the current one, is the first of the search `path`."""
    names = _names(path)
    # By default the path begins with a schema named like the role, which need not exist.
    expected = {role if name == "$user" else name for name in names[: 2 if names[:1] == ["$user"] else 1]}
    if schema is None or (expected and schema not in expected):
        missing = next((name for name in names if name != "$user"), "search_path")
        raise SchemaMismatch(
            f"{connection.engine.url}: the schema {missing} of its search_path ({path}) does not exist, or the "
            f"role {role} may not use it",
            f"create it (CREATE SCHEMA {missing} AUTHORIZATION {role}) or correct search_path in DATABASE_URL",
        )


def behind(connection: Connection, schema: str | None, holder: str) -> SchemaMismatch:
    """The error where only `holder`, behind the current `schema` in the search path, has the tables."""
    return SchemaMismatch(
        f"{connection.engine.url}: its search_path begins with {schema}, which has no tables of this project, but "
        f"{holder} behind it has, and would be written to",
        f"name one schema only in DATABASE_URL: options=-csearch_path%3D{schema} to begin with empty tables, "
        f"options=-csearch_path%3D{holder} to use those",
    )


def missing_right(connection: Connection, table: str) -> tuple[str, str] | None:
    """What keeps this role from migrating the tables, of which `table` is one, and the remedy."""
    found = connection.execute(_RIGHTS, {"table": table}).one()
    if not found.may_create:
        grant = f"GRANT CREATE ON SCHEMA {found.schema} TO {found.role}"
        own = f"ALTER DATABASE {found.database} OWNER TO {found.role}, or " if found.of_database_owner else ""
        return (
            f"the role {found.role} may not create tables in schema {found.schema} of database {found.database}",
            f"let an administrator of the server run {own}{grant}",
        )
    if found.owner is not None and not found.is_owner:
        return (
            f"the role {found.role} may not change the tables, which belong to {found.owner}",
            f"run `market-pipeline migrate` as {found.owner}, or let an administrator run "
            f"GRANT {found.owner} TO {found.role}",
        )
    return None


def _names(path: str) -> list[str]:
    """The schemas of a search path, unquoted ones in lower case as PostgreSQL takes them."""
    return [
        match[1].replace('""', '"') if match[1] is not None else match[2].lower()
        for match in _NAME.finditer(path)
    ]
