"""Rows that were stored before prices knew their coin: every one is kept, and gets the likely id."""

from dataclasses import replace
from datetime import datetime, timezone

import pytest
from alembic import command
from sqlalchemy import column, insert, table, text

from market_pipeline.anomalies.calibration import Calibration, CoinCalibration
from market_pipeline.anomalies.scores.tails import Tail
from market_pipeline.core.clock import DAY
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import calibrations_for
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.migrate import alembic_config, check_schema, migrate
from market_pipeline.storage.schema.tables import detector_calibrations, raw_prices
from market_pipeline_tests.builders import price_row, prices_of, stored_rows

CONFIGURED = {"BTC": "bitcoin-cash", "BASE": "simulated:base-token"}
COINS = {
    **CONFIGURED, "ETH": "ethereum", "GONE": "gone-2", "MET": "met-coin", "XYZ": "unknown", "O'N%": "unknown",
}
_PRICES = "INSERT INTO raw_prices (symbol, timestamp, price, source, ingested_at) VALUES "
_REVISIONS = (
    "INSERT INTO price_revisions (id, symbol, timestamp, price_before, source_before, ingested_before, price_after, "
    "source_after, ingested_after) VALUES "
)
_REFUSALS = (
    "INSERT INTO rejected_prices (id, symbol, day, reason, detail, payload, source, run_id, refused_at) VALUES "
)
_IDENTITIES = "INSERT INTO coin_identities (symbol, coin_id, listed, checked_at) VALUES "
_GAPS = "INSERT INTO source_gaps (symbol, coin_id, gap_start, gap_end, evidence, found_at) VALUES "


@pytest.fixture
def earlier(database):
    """A database as the version before left it, with two prices of each symbol."""
    sqlite = database.dialect == "sqlite"
    old, new = ("1", "2") if sqlite else ("'2024-03-01Z'", "'2024-03-02Z'")
    quoted = [symbol.replace("'", "''") for symbol in COINS]
    with database.writing() as connection:
        command.downgrade(alembic_config(connection), "0004")
        run = connection.execute
        for symbol in quoted:
            run(text(_PRICES + ", ".join(f"('{symbol}', {at}, 5.5, 'simple_price', {new})" for at in (old, new))))
            run(text(f"{_REFUSALS} ('{symbol}', '{symbol}', '2024-03-01', 'zero_price', '0', '0', 'x', 'r', {new})"))
        run(text(f"{_REVISIONS} (1, 'ETH', {old}, 1, 'x', {old}, 2, 'y', {new})"))
        for at, coin in ((new, "gone-2"), (old, "gone-1")):
            run(text(f"{_IDENTITIES} ('GONE', '{coin}', true, {at})"))
        run(text(f"{_GAPS} ('MET', 'met-coin', {old}, {new}, '-', {new}), ('GONE', 'x', {old}, {new}, '-', {new})"))
        run(text("CREATE VIEW cheap AS SELECT symbol, price FROM raw_prices WHERE price < 100"))
    return Database(database.url, CONFIGURED)


def rows(database, statement):
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def test_every_row_is_kept_and_knows_its_coin(earlier):
    migrate(earlier)
    check_schema(earlier)
    assert {(row["symbol"], row["coin_id"]) for row in stored_rows(earlier, raw_prices)} == set(COINS.items())
    assert len(stored_rows(earlier, raw_prices)) == 2 * len(COINS)
    assert dict(rows(earlier, "SELECT symbol, coin_id FROM rejected_prices")) == COINS
    assert rows(earlier, "SELECT symbol, coin_id, price_after FROM price_revisions") == [("ETH", "ethereum", 2.0)]
    assert len(rows(earlier, "SELECT * FROM cheap")) == 2 * len(COINS), "a view of the user's still answers"
    earlier.dispose()


@pytest.mark.parametrize(("hosts", "expected"), [
    (["127.0.0.1:8710", "localhost"], {"BTC": "simulated:bitcoin-cash", "BASE": "simulated:base-token"}),
    (["api.coingecko.com"], {"BTC": "bitcoin-cash", "BASE": "base-token"}),
    (["api.coingecko.com", "[::1]:8710"], CONFIGURED),
])
def test_the_hosts_that_were_asked_tell_simulated_prices_from_real_ones(earlier, hosts, expected):
    """Whatever the settings of the command that migrates say."""
    with earlier.writing() as connection:
        for host in hosts:
            connection.execute(text(
                "INSERT INTO request_budgets (account, granted, waiting, month, credits_used) "
                f"VALUES ('demo@{host}#0123456789ab', '[]', '[]', '2024-03-01', 0)".replace(":", r"\:")
            ))
    migrate(earlier)
    stored = dict(rows(earlier, "SELECT DISTINCT symbol, coin_id FROM raw_prices"))
    assert {symbol: stored[symbol] for symbol in CONFIGURED} == expected
    assert stored["XYZ"] == "unknown"
    earlier.dispose()


def test_calibrations_are_split_by_coin_and_say_the_same(earlier):
    """A day that is scored again gets the same rows."""
    tail = Tail(2.1, 0.02, 0.2, 0.7, 25_000)
    coin = CoinCalibration(-7.1, (0.5,) * 21, 25_920, 89.99)
    whole = Calibration(
        datetime(2024, 3, 1, tzinfo=timezone.utc), (1.5,) * 24, {"BTC": coin, "GONE": coin},
        {"* jump short": tail, "BTC jump short": tail},
    )
    bare = replace(whole, as_of=whole.as_of + DAY, coins={}, tails={})
    with earlier.writing() as connection:
        for one in (whole, bare):
            row = {"as_of": one.as_of, "detector_version": "3", "document": one.to_json(), "calibrated_at": one.as_of}
            connection.execute(insert(table("detector_calibrations", *(
                column(name, detector_calibrations.c[name].type) for name in row
            ))), row)
    migrate(earlier)
    assert calibrations_for(earlier, [whole.as_of.date()], "3") == {
        whole.as_of.date(): replace(whole, coins={"BTC": coin}),
    }, "GONE is no longer collected"
    split = [row for row in stored_rows(earlier, detector_calibrations) if row["as_of"] == whole.as_of]
    kept = {(row["symbol"], row["coin_id"]) for row in split}
    assert kept == {("BTC", "bitcoin-cash"), ("GONE", "gone-2")}
    assert calibrations_for(earlier, [bare.as_of.date()], "3") == {bare.as_of.date(): bare}
    with earlier.writing() as connection:
        command.downgrade(alembic_config(connection), "0008")
    documents = rows(earlier, "SELECT document FROM detector_calibrations ORDER BY as_of")
    assert [Calibration.from_json(document) for document, in documents] == [whole, bare]
    earlier.dispose()


def test_the_way_back_keeps_one_price_of_each_time(earlier):
    migrate(earlier)
    before = len(rows(earlier, "SELECT 1 FROM raw_prices"))
    upsert(earlier, raw_prices, prices_of(price_row("NEW", coin_id="a"), price_row("NEW", coin_id="b")))
    with earlier.writing() as connection:
        command.downgrade(alembic_config(connection), "0004")
    assert len(rows(earlier, "SELECT 1 FROM raw_prices")) == before + 1
    earlier.dispose()


def test_a_change_is_kept_beside_its_price_whatever_the_session_looks_at_first(postgres_database):
    """A session may have tables of the same names in a schema that it looks through first."""
    upsert(postgres_database, raw_prices, prices_of(price_row()))
    with postgres_database.writing() as connection:
        connection.execute(text("CREATE SCHEMA dev"))
        connection.execute(text("CREATE TABLE dev.price_revisions (LIKE public.price_revisions INCLUDING ALL)"))
        connection.execute(text("SET LOCAL search_path = dev, public"))
        connection.execute(text("UPDATE public.raw_prices SET price = 7"))
        connection.execute(text("DROP TABLE dev.price_revisions"))
        connection.execute(text("DROP SCHEMA dev"))
    assert rows(postgres_database, "SELECT coin_id, price_after FROM price_revisions") == [("bitcoin", 7.0)]
