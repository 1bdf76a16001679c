"""How many connections a PostgreSQL server still allows."""

from dataclasses import dataclass

from sqlalchemy import text

from market_pipeline.storage.engine import Database

# Sessions of others show no more than their database and role to most roles.
_LIMITS = text("""
    WITH sessions AS (SELECT datname, usename FROM pg_stat_activity WHERE usename IS NOT NULL)
    SELECT 'the server' AS holder, (SELECT count(*) FROM sessions) AS used,
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int AS allowed
    UNION ALL SELECT 'the database ' || datname, (SELECT count(*) FROM sessions WHERE datname = d.datname), datconnlimit
        FROM pg_database AS d WHERE datname = current_database() AND datconnlimit >= 0
    UNION ALL SELECT 'the role ' || rolname, (SELECT count(*) FROM sessions WHERE usename = rolname), rolconnlimit
        FROM pg_roles WHERE rolname = current_user AND rolconnlimit >= 0
""")


@dataclass(frozen=True)
class ConnectionLimit:
    """How many connections of those that `holder` may have are in use; this query's own is one of them."""

    holder: str
    used: int
    allowed: int

    @property
    def free(self) -> int:
        """How many more can be opened."""
        return self.allowed - self.used


def scarcest_connections(database: Database) -> ConnectionLimit:
    """Return the limit of server, database or role that leaves the fewest connections; PostgreSQL only."""
    with database.reading() as connection:
        rows = connection.execute(_LIMITS).all()
    limits = [ConnectionLimit(row.holder, row.used, row.allowed) for row in rows]
    return min(limits, key=lambda limit: limit.free)
