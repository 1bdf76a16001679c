"""Rows of earlier revisions: every one survives the migrations, and the way back."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from alembic import command
from sqlalchemy import column, insert, inspect, select, table, text

from market_pipeline.anomalies.calibration import Calibration, CoinCalibration
from market_pipeline.anomalies.scores.tails import Tail
from market_pipeline.core.clock import DAY
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import calibrations_for
from market_pipeline.storage.schema.migrate import REVISION, alembic_config, check_schema, migrate
from market_pipeline.storage.schema.operations_tables import client_requests, request_budgets
from market_pipeline.storage.schema.tables import detector_calibrations, price_anomalies, raw_prices
from market_pipeline.storage.schema.types import UtcTimestamp
from market_pipeline_tests.builders import START, anomaly_row, at, price_row, store, stored_rows

Row = dict[str, Any]


def downgrade(database: Database, revision: str) -> None:
    with database.writing() as connection:
        command.downgrade(alembic_config(connection), revision)


def run(database: Database, *statements: str) -> None:
    with database.writing() as connection:
        for statement in statements:
            connection.execute(text(statement.replace(":", r"\:")))


def rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


# Revision 0003: anomalies of the first detectors become richer rows.

_TIMES = ("timestamp", "timestamp_before")
_COLUMNS = (
    *_TIMES, "symbol", "detector", "score", "threshold", "direction", "price_before", "price_after",
    "move", "expected_move", "elapsed_seconds", "explanation",
)
OLD_ANOMALIES = table(
    "price_anomalies", *(column(name, UtcTimestamp() if name in _TIMES else None) for name in _COLUMNS)
)


def old_anomaly(symbol: str, minutes: float, detector: str, expected_move: float | None = 0.01) -> Row:
    return {
        "symbol": symbol, "timestamp": at(minutes) + timedelta(microseconds=123_456),
        "timestamp_before": at(minutes - 5), "detector": detector, "score": 6.0, "threshold": 5.0,
        "direction": "down", "price_before": 100.0, "price_after": 94.0, "move": -0.06,
        "expected_move": expected_move, "elapsed_seconds": 300.0, "explanation": f"{symbol} fell.",
    }


# More rows than are moved at once.
OLD_ROWS = [
    *(old_anomaly("BTC", n, "two_point", None) for n in range(0, 700 * 5, 5)),
    *(old_anomaly("BTC", n, "ewma") for n in range(0, 700 * 5, 5)), old_anomaly("ETH", 5, "ewma"),
]


def by_key(found: Sequence[Row]) -> list[Row]:
    return sorted(found, key=lambda row: (row["symbol"], row["timestamp"], row["detector"]))


def test_anomalies_of_the_first_detectors_survive_and_come_back(database: Database) -> None:
    """On the way back rows are lost that the first detectors had no words for."""
    downgrade(database, "0002")
    with database.writing() as connection:
        connection.execute(insert(OLD_ANOMALIES), OLD_ROWS)
    migrate(database)
    check_schema(database)
    found = stored_rows(database, price_anomalies)
    kinds = {"user_threshold": "two_point", "jump": "ewma"}
    survived = [
        {name: row[name] for name in _COLUMNS if name != "detector"} | {"detector": kinds[row["kind"]]}
        for row in found
    ]
    assert by_key(survived) == by_key(OLD_ROWS)
    assert len({row["id"] for row in found}) == len(OLD_ROWS)
    for row in found:
        assert re.fullmatch("[0-9a-f]{32}", row["id"]) and row["episode_id"] == row["id"]
        assert (row["severity"], row["scope"], row["calibration"]) == ("watch", "unknown", "prior")
        assert (row["detector_version"], row["quality_flags"]) == ("1", "old_rules")
        assert row["detected_at"] == row["episode_first"] == row["episode_last"] == row["timestamp"]
        assert row["horizon_minutes"] == 5.0
        assert row["event_id"] is row["p_calibrated"] is row["confirmation"] is None
    stale = anomaly_row("ADA", 0, kind="stale_feed", direction="none")
    store(database, price_anomalies, stale, anomaly_row("ADA", 5, kind="large_move"))
    downgrade(database, "0002")
    with database.reading() as connection:
        back = [dict(row._mapping) for row in connection.execute(select(OLD_ANOMALIES))]
    assert by_key([row for row in back if row["symbol"] != "ADA"]) == by_key(OLD_ROWS)
    assert [row["detector"] for row in back if row["symbol"] == "ADA"] == ["large_move"]


# Revision 0005: prices know their coin; 0009: calibrations are stored by symbol.

CONFIGURED = {"BTC": "bitcoin-cash", "BASE": "simulated:base-token"}
COINS = {
    **CONFIGURED, "ETH": "ethereum", "GONE": "gone-2", "MET": "met-coin", "XYZ": "unknown", "O'N%": "unknown",
}


@pytest.fixture
def without_coins(database: Database) -> Iterator[Database]:
    """A database at revision 0004, with two prices of each symbol."""
    old, new = ("1", "2") if database.dialect == "sqlite" else ("'2024-03-01Z'", "'2024-03-02Z'")
    downgrade(database, "0004")
    for symbol in (symbol.replace("'", "''") for symbol in COINS):
        prices = ", ".join(f"('{symbol}', {moment}, 5.5, 'simple_price', {new})" for moment in (old, new))
        run(
            database, f"INSERT INTO raw_prices (symbol, timestamp, price, source, ingested_at) VALUES {prices}",
            "INSERT INTO rejected_prices (id, symbol, day, reason, detail, payload, source, run_id, refused_at) VALUES "
            f"('{symbol}', '{symbol}', '2024-03-01', 'zero_price', '0', '0', 'x', 'r', {new})",
        )
    run(
        database, "INSERT INTO price_revisions (id, symbol, timestamp, price_before, source_before, ingested_before, "
        f"price_after, source_after, ingested_after) VALUES (1, 'ETH', {old}, 1, 'x', {old}, 2, 'y', {new})",
        "INSERT INTO coin_identities (symbol, coin_id, listed, checked_at) VALUES "
        f"('GONE', 'gone-2', true, {new}), ('GONE', 'gone-1', true, {old})",
        "INSERT INTO source_gaps (symbol, coin_id, gap_start, gap_end, evidence, found_at) VALUES "
        f"('MET', 'met-coin', {old}, {new}, '-', {new}), ('GONE', 'x', {old}, {new}, '-', {new})",
        "CREATE VIEW cheap AS SELECT symbol, price FROM raw_prices WHERE price < 100",
    )
    configured = Database(database.url, CONFIGURED)
    yield configured
    configured.dispose()


def test_every_price_survives_and_knows_its_coin(without_coins: Database) -> None:
    """The way back leaves one price of each time."""
    migrate(without_coins)
    check_schema(without_coins)
    prices = rows(without_coins, "SELECT symbol, coin_id FROM raw_prices")
    assert len(prices) == 2 * len(COINS) and dict(prices) == COINS
    assert dict(rows(without_coins, "SELECT symbol, coin_id FROM rejected_prices")) == COINS
    revisions = rows(without_coins, "SELECT symbol, coin_id, price_after FROM price_revisions")
    assert revisions == [("ETH", "ethereum", 2.0)]
    assert len(rows(without_coins, "SELECT * FROM cheap")) == 2 * len(COINS), "a user's view still answers"
    store(without_coins, raw_prices, price_row("NEW", coin_id="a"), price_row("NEW", coin_id="b"))
    downgrade(without_coins, "0004")
    assert len(rows(without_coins, "SELECT 1 FROM raw_prices")) == len(prices) + 1


@pytest.mark.parametrize(("hosts", "expected"), [
    (["127.0.0.1:8710", "localhost"], {"BTC": "simulated:bitcoin-cash", "BASE": "simulated:base-token"}),
    (["api.coingecko.com"], {"BTC": "bitcoin-cash", "BASE": "base-token"}),
    (["api.coingecko.com", "[::1]:8710"], CONFIGURED),
])
def test_the_hosts_of_the_budgets_distinguish_simulated_prices(
    without_coins: Database, hosts: list[str], expected: dict[str, str]
) -> None:
    """Whatever the settings of the command that migrates."""
    run(without_coins, *(
        "INSERT INTO request_budgets (account, granted, waiting, month, credits_used) VALUES "
        f"('demo@{host}#0123456789ab', '[]', '[]', '2024-03-01', 0)" for host in hosts
    ))
    migrate(without_coins)
    stored = dict(rows(without_coins, "SELECT DISTINCT symbol, coin_id FROM raw_prices"))
    assert {symbol: stored[symbol] for symbol in CONFIGURED} == expected
    assert stored["XYZ"] == "unknown"


def test_calibrations_are_split_by_coin_and_mean_the_same(without_coins: Database) -> None:
    """A day that is scored again gets the same rows."""
    tail = Tail(2.1, 0.02, 0.2, 0.7, 25_000)
    coin = CoinCalibration(-7.1, (0.5,) * 21, 25_920, 89.99, None, 1e-3)
    whole = Calibration(
        START, (1.5,) * 24, {"BTC": coin, "GONE": coin}, {"* jump short": tail, "BTC jump short": tail}
    )
    bare = replace(whole, as_of=whole.as_of + DAY, coins={}, tails={})
    with without_coins.writing() as connection:
        for one in (whole, bare):
            row = {"as_of": one.as_of, "detector_version": "3", "document": one.to_json(), "calibrated_at": one.as_of}
            columns = (column(name, detector_calibrations.c[name].type) for name in row)
            connection.execute(insert(table("detector_calibrations", *columns)), row)
    migrate(without_coins)
    assert calibrations_for(without_coins, [START.date()], "3") == {
        START.date(): replace(whole, coins={"BTC": coin}),
    }, "GONE is no longer collected"
    split = [row for row in stored_rows(without_coins, detector_calibrations) if row["as_of"] == START]
    assert {(row["symbol"], row["coin_id"]) for row in split} == {("BTC", "bitcoin-cash"), ("GONE", "gone-2")}
    assert calibrations_for(without_coins, [bare.as_of.date()], "3") == {bare.as_of.date(): bare}
    downgrade(without_coins, "0008")
    documents = rows(without_coins, "SELECT document FROM detector_calibrations ORDER BY as_of")
    assert [Calibration.from_json(document) for document, in documents] == [whole, bare]


def test_the_trigger_writes_beside_its_table_whatever_the_search_path(postgres_database: Database) -> None:
    """A session may have tables of the same names in an earlier schema of its search path."""
    store(postgres_database, raw_prices, price_row())
    run(
        postgres_database, "CREATE SCHEMA dev",
        "CREATE TABLE dev.price_revisions (LIKE public.price_revisions INCLUDING ALL)",
        "SET LOCAL search_path = dev, public", "UPDATE public.raw_prices SET price = 7",
        "DROP TABLE dev.price_revisions", "DROP SCHEMA dev",
    )
    assert rows(postgres_database, "SELECT coin_id, price_after FROM price_revisions") == [("bitcoin", 7.0)]


# Revision 0010: the clients leave the table of budgets.


def test_budgets_survive_without_the_clients_among_them(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "market_pipeline")
    downgrade(database, "0009")
    budget = {"granted": [1], "waiting": [], "month": START.date(), "credits_used": 7}
    with database.writing() as connection:
        for account in ("demo@api.example#0", "client 10.0.0.1"):
            connection.execute(insert(request_budgets).values(account=account, **budget))
    migrate(database)
    check_schema(database)
    assert f"Tables upgraded from revision 0009 to {REVISION}" in caplog.text
    (row,) = stored_rows(database, request_budgets)
    assert (row["account"], row["granted"], row["credits_used"]) == ("demo@api.example#0", [1], 7)
    assert stored_rows(database, client_requests) == []


# Revision 0011: anomalies get a headline and what their calibration rests on.


def test_anomalies_without_headline_survive_it_and_the_way_back(database: Database) -> None:
    new = ("importance", "market_move", "cadence", "calibration_days", "calibration_excesses", "headline")
    old = {name: value for name, value in anomaly_row(members="BTC,ETH").items() if name not in new}
    downgrade(database, "0010")
    before = table("price_anomalies", *(column(name, price_anomalies.c[name].type) for name in old))
    with database.writing() as connection:
        connection.execute(insert(before).values(old))
    migrate(database)
    check_schema(database)
    (row,) = stored_rows(database, price_anomalies)
    assert row == {**old, **dict.fromkeys(new), "headline": ""}
    downgrade(database, "0010")
    with database.reading() as connection:
        assert [dict(each._mapping) for each in connection.execute(select(before))] == [old]
        names = {each["name"] for each in inspect(connection).get_columns("price_anomalies")}
    assert names == set(old)
