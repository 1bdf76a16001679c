"""Give prices, refusals, revisions and anomalies the id of their coin.

Rows of today get the id that their symbol has in the settings, else the one that was last seen of it. The
hosts that were asked decide whether they are simulated: the command may have settings for another source.
"""

from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

from market_pipeline.core.loopback import is_loopback
from market_pipeline.core.symbols import KNOWN_COINS, UNKNOWN_COIN, Coin
from market_pipeline.storage.schema.types import Name, UtcTimestamp

revision = "0005"
down_revision = "0004"

_COMMENT = "CoinGecko's id of the coin that was asked for, e.g. bitcoin."
_BESIDE = ("rejected_prices", "price_revisions", "price_anomalies")
# Where an id is remembered, and since when.
_REMEMBERED = (("coin_identities", "checked_at"), ("source_gaps", "found_at"))

_SQLITE_TRIGGER = """
CREATE TRIGGER raw_prices_revised AFTER UPDATE OF price ON raw_prices
WHEN OLD.price IS NOT NEW.price
BEGIN
    INSERT INTO price_revisions ({coin}symbol, timestamp, price_before, source_before, ingested_before,
                                 price_after, source_after, ingested_after)
    VALUES ({old_coin}OLD.symbol, OLD.timestamp, OLD.price, OLD.source, OLD.ingested_at,
            NEW.price, NEW.source, NEW.ingested_at);
END
"""
# It names its schema: a session that writes here may look for tables elsewhere first.
_POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION {schema}.raw_prices_revised() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.price_revisions ({coin}symbol, timestamp, price_before, source_before,
                                          ingested_before, price_after, source_after, ingested_after)
    VALUES ({old_coin}OLD.symbol, OLD.timestamp, OLD.price, OLD.source, OLD.ingested_at,
            NEW.price, NEW.source, NEW.ingested_at);
    RETURN NULL;
END
$$
"""
_POSTGRESQL_TRIGGER = """
CREATE TRIGGER raw_prices_revised AFTER UPDATE OF price ON {schema}.raw_prices
FOR EACH ROW WHEN (OLD.price IS DISTINCT FROM NEW.price) EXECUTE FUNCTION {schema}.raw_prices_revised()
"""


def upgrade() -> None:
    coin_id = _coin_of_symbol()
    for table in _BESIDE:
        op.add_column(
            table, sa.Column("coin_id", Name(100), nullable=False, server_default=UNKNOWN_COIN, comment=_COMMENT)
        )
        _run(f"UPDATE {table} SET coin_id = {coin_id}")
    _drop_trigger()
    if _on_sqlite():
        _rebuild(with_coin=True, coin_id=coin_id)
    else:
        op.add_column("raw_prices", sa.Column("coin_id", Name(100), comment=_COMMENT))
        # One pass over the table, which an UPDATE would leave at twice its size.
        _run(
            "ALTER TABLE raw_prices DROP CONSTRAINT raw_prices_pkey, "
            f'ALTER COLUMN coin_id TYPE varchar(100) COLLATE "C" USING {coin_id}, '
            "ADD CONSTRAINT raw_prices_pkey PRIMARY KEY (symbol, coin_id, timestamp)"
        )
        op.create_table_comment("raw_prices", "Accepted quotes, one row per symbol, coin and source time.")
    _create_trigger(coin="coin_id, ", old_coin="OLD.coin_id, ")


def downgrade() -> None:
    """Drop the ids; of the prices that several coins of a symbol have at the same time one is kept."""
    _drop_trigger()
    if _on_sqlite():
        _rebuild(with_coin=False)
    else:
        _run(
            "DELETE FROM raw_prices one USING raw_prices other WHERE one.symbol = other.symbol "
            "AND one.timestamp = other.timestamp AND one.coin_id > other.coin_id"
        )
        _run(
            "ALTER TABLE raw_prices DROP CONSTRAINT raw_prices_pkey, DROP COLUMN coin_id, "
            "ADD CONSTRAINT raw_prices_pkey PRIMARY KEY (symbol, timestamp)"
        )
        op.create_table_comment("raw_prices", "Accepted quotes, one row per symbol and source time.")
    for table in _BESIDE:
        op.drop_column(table, "coin_id")
    _create_trigger(coin="", old_coin="")


def _coin_of_symbol() -> str:
    """Return the SQL for the coin id of a row's symbol."""
    connection = op.get_bind()
    config = op.get_context().config
    ids: dict[str, str] = dict(KNOWN_COINS)
    for table, since in reversed(_REMEMBERED):
        found = sa.table(table, *(sa.column(name) for name in ("symbol", "coin_id", since)))
        rows = connection.execute(sa.select(found.c.symbol, found.c.coin_id).order_by(found.c[since]))
        ids.update((row.symbol, row.coin_id) for row in rows)
    ids.update(config.attributes["coins"] if config else {})
    if (simulated := _all_simulated(connection)) is not None:
        coins = [Coin(symbol, coin_id) for symbol, coin_id in ids.items() if coin_id != UNKNOWN_COIN]
        ids.update((coin.symbol, coin.simulated.coin_id if simulated else coin.source_id) for coin in coins)
    of_symbol = sa.case(ids, value=sa.column("symbol"), else_=UNKNOWN_COIN)
    return str(of_symbol.compile(connection, compile_kwargs={"literal_binds": True}))


def _all_simulated(connection: sa.Connection) -> bool | None:
    """Return whether all requests so far went to this machine, or none; None if some did, or nothing is known."""
    names = connection.exec_driver_sql("SELECT account FROM request_budgets UNION SELECT account FROM request_ledger")
    hosts = [urlsplit(f"//{name.partition('@')[2].partition('#')[0]}").hostname or "" for name in names.scalars()]
    local = {is_loopback(host) for host in hosts}
    return local.pop() if len(local) == 1 else None


def _rebuild(*, with_coin: bool, coin_id: str = "") -> None:
    """Fill a new table and give it the name of the old one, because SQLite cannot change a key."""
    name, key = "raw_prices_rebuilt", ["symbol", "timestamp"]
    coin: list[sa.Column[Any]] = []
    if with_coin:
        coin, key = [sa.Column("coin_id", Name(100), nullable=False)], ["symbol", "coin_id", "timestamp"]
    op.create_table(
        name,
        sa.Column("symbol", Name(20), nullable=False),
        *coin,
        sa.Column("timestamp", UtcTimestamp(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.Column("source", Name(20), nullable=False),
        sa.Column("ingested_at", UtcTimestamp(), nullable=False),
        sa.PrimaryKeyConstraint(*key, name=op.f("raw_prices_pkey")),
        sa.CheckConstraint("price > 0 AND price < 1e300", name=op.f("raw_prices_price_is_positive")),
        sa.CheckConstraint(
            "source IN ('simple_price', 'market_chart')", name=op.f("raw_prices_source_is_known")
        ),
        sqlite_with_rowid=False,
    )
    names = "symbol, timestamp, price, source, ingested_at"
    into, given = (f"{names}, coin_id", f"{names}, {coin_id}") if with_coin else (names, names)
    insert = "INSERT" if with_coin else "INSERT OR IGNORE"
    _run(f"{insert} INTO {name} ({into}) SELECT {given} FROM raw_prices ORDER BY symbol, timestamp")
    op.drop_table("raw_prices")
    op.rename_table(name, "raw_prices")


def _drop_trigger() -> None:
    # On SQLite as well: it would be in the way of the new table's.
    _run("DROP TRIGGER raw_prices_revised" + ("" if _on_sqlite() else " ON raw_prices"))


def _create_trigger(**coin: str) -> None:
    if _on_sqlite():
        _run(_SQLITE_TRIGGER.format(**coin))
        return
    schema = op.get_bind().exec_driver_sql(
        "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'raw_prices'::regclass"
    ).scalar()
    _run(_POSTGRESQL_FUNCTION.format(schema=schema, **coin))
    _run(_POSTGRESQL_TRIGGER.format(schema=schema))


def _on_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _run(statement: str) -> None:
    """Execute the statement verbatim: `op.execute` would take the colon of an id for a parameter."""
    op.get_bind().exec_driver_sql(statement)
