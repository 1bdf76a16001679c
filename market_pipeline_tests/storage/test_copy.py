"""A copy of everything to another database: every value, in both directions, also after an interruption."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, inspect, update

from market_pipeline.core.clock import DAY
from market_pipeline.storage import copy
from market_pipeline.storage.copy import NotCopied, copy_part, fingerprint, finish, parts_of, prepare
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import operations_tables as operations
from market_pipeline.storage.schema.tables import metadata, price_anomalies, raw_prices, rejected_prices
from market_pipeline_tests.builders import START, anomaly_row, at, price_row, refusal_row, store, stored_rows

MICROSECOND = timedelta(microseconds=1)


def fill(database: Database) -> None:
    """Rows in tables of every kind, with values that lose something on a careless way."""
    late = START + 400 * DAY + 123_457 * MICROSECOND
    store(
        database, raw_prices, *(price_row("BTC", 5 * n, 1 / 3 + n) for n in range(7)), price_row("ETH", 0, 1.2e-7),
        price_row("ETH", 0, 5e-324, coin_id="another-coin"), price_row("BTC", price=9.9e299, timestamp=late),
    )
    store(database, rejected_prices, refusal_row(1, payload='{"a": "\u00e9 \U0001f41f \\u0000"}'), refusal_row(2))
    store(database, price_anomalies, anomaly_row(), anomaly_row("ETH", 5, kind="large_move", headline="\u2212\u00a07%"))
    with database.writing() as connection:
        connection.execute(update(raw_prices).where(raw_prices.c.timestamp == at(0)).values(price=7.0))
        budget = {"granted": [1, {"b": 2, "a": None}], "waiting": [], "month": date(2026, 1, 1), "credits_used": 7}
        connection.execute(insert(operations.request_budgets).values(account="demo@host#1", **budget))


def copied(source: Database, target: Database) -> list[copy.Comparison]:
    parts = parts_of(source)
    prepare(source, target, parts)
    found = [copy_part(source, target, part) for part in parts]
    assert all(one.equal for one in found)
    return found


def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    return {name: stored_rows(database, table) for name, table in metadata.tables.items()}


@pytest.fixture(params=["to postgresql", "to sqlite"])
def both(
    request: pytest.FixtureRequest, sqlite_database: Database, postgres_database: Database
) -> tuple[Database, Database]:
    pair = sqlite_database, postgres_database
    return pair if request.param == "to postgresql" else (pair[1], pair[0])


def test_every_value_arrives_and_an_interrupted_copy_continues(both: tuple[Database, Database]) -> None:
    source, target = both
    fill(source)
    before, parts = everything(source), parts_of(source)
    assert [str(part) for part in parts if part.table is raw_prices] == [
        "raw_prices BTC 2024", "raw_prices BTC 2025", "raw_prices ETH 2024",
    ]
    assert len(before["price_revisions"]) == 3, "a changed price leaves one"
    prepare(source, target, parts)
    for part in parts[:-4]:
        copy_part(source, target, part)
    # Meanwhile the source changes: a coin is renamed, a price is corrected, one comes and one goes.
    with source.writing() as connection:
        connection.execute(delete(price_anomalies).where(price_anomalies.c.symbol == "ETH"))
        connection.execute(update(raw_prices).where(raw_prices.c.timestamp == at(5)).values(price=8.0))
        connection.execute(delete(raw_prices).where(raw_prices.c.timestamp == at(10)))
    store(source, raw_prices, price_row("BTC", 999, 3.0))
    after = everything(source)
    copied(source, target)
    assert everything(target) == after and everything(source) == after
    assert {str(one.part): one.source.rows for one in copied(source, target)}["raw_prices BTC 2024"] == 7
    finish(target)
    with target.writing() as connection:
        assert not inspect(connection).has_table("market_pipeline_copy")
        connection.execute(update(raw_prices).where(raw_prices.c.timestamp == at(0)).values(price=5.0))
    numbers = [row["id"] for row in stored_rows(target, operations.price_revisions)]
    assert len(set(numbers)) == len(after["price_revisions"]) + 3, "numbers continue after the copied ones"


def test_a_fingerprint_notices_any_change(sqlite_database: Database) -> None:
    fill(sqlite_database)
    parts = {str(part): part for part in parts_of(sqlite_database)}
    of_anomalies, of_prices = parts["price_anomalies BTC"], parts["raw_prices BTC 2024"]
    before = {name: fingerprint(sqlite_database, part) for name, part in parts.items()}
    with sqlite_database.writing() as connection:
        connection.execute(update(price_anomalies).values(explanation="."))
        later = raw_prices.c.timestamp == at(15)
        connection.execute(update(raw_prices).where(later).values(ingested_at=at(15) + MICROSECOND))
    assert fingerprint(sqlite_database, of_anomalies) != before[str(of_anomalies)]
    assert fingerprint(sqlite_database, of_prices) != before[str(of_prices)]
    assert fingerprint(sqlite_database, of_prices).rows == before[str(of_prices)].rows


def test_only_an_empty_database_or_one_with_this_copy_is_a_target(
    sqlite_database: Database, postgres_database: Database
) -> None:
    fill(sqlite_database)
    parts = parts_of(sqlite_database)
    with pytest.raises(NotCopied, match="same database"):
        prepare(sqlite_database, sqlite_database, parts)
    store(postgres_database, raw_prices, price_row("SOL"))
    with pytest.raises(NotCopied, match="is not empty: raw_prices has rows already"):
        prepare(sqlite_database, postgres_database, parts)
    assert stored_rows(postgres_database, raw_prices)
