"""What the checks report, also of rows that no constraint has stopped."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import text

from market_pipeline.core.slices import Slice
from market_pipeline.prices.quotes import Reason, Source
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import integrity
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices
from market_pipeline_tests.builders import START, at, price_row, refusal_row, store

DAY = 24 * 60
GRACE = timedelta(minutes=11)
FIRST = START.date()
# The first two days of two symbols.
SLICES = [Slice(symbol, FIRST, FIRST + timedelta(days=1)) for symbol in ("ADA", "BTC")]


@pytest.fixture
def unconstrained(database: Database) -> Database:
    """`raw_prices` without constraints: prices of any kind, or none."""
    with database.writing() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("ALTER TABLE raw_prices DROP CONSTRAINT raw_prices_price_is_positive"))
            connection.execute(text("ALTER TABLE raw_prices ALTER price DROP NOT NULL"))
        else:
            Operations(MigrationContext.configure(connection)).drop_table("raw_prices")
            connection.execute(text(
                "CREATE TABLE raw_prices (symbol TEXT, coin_id TEXT, timestamp BIGINT, price DOUBLE, "
                "source TEXT, ingested_at BIGINT, PRIMARY KEY (symbol, coin_id, timestamp))"
            ))
    return database


def insert(database: Database, *rows: Mapping[str, Any]) -> None:
    with database.writing() as connection:
        connection.execute(raw_prices.insert(), rows)


def test_good_rows_are_no_offenders(database: Database) -> None:
    insert(database, price_row("ADA"), price_row("BTC", 5))
    assert integrity.quotes_not_positive(database, SLICES) == integrity.Offenders(0, {}, [])
    assert integrity.quotes_in_future(database, SLICES, at(5)) == integrity.Offenders(0, {}, [])


def test_every_price_that_is_no_number_above_zero_is_found(unconstrained: Database) -> None:
    """Those of other days and symbols are left out; the count is exact and the sample bounded."""
    prices = [0.0, -1.0, float("nan"), float("inf"), float("-inf"), None]
    bad: list[dict[str, Any]] = [
        {**price_row(symbol, n), "price": price} for symbol in ("ADA", "BTC") for n, price in enumerate(prices)
    ]
    other = [{**price_row(symbol, minutes), "price": -1.0} for symbol, minutes in (("BTC", 2 * DAY), ("ETH", 5))]
    insert(unconstrained, *bad, price_row("BTC", 50), *other)
    found = integrity.quotes_not_positive(unconstrained, SLICES)
    assert (found.count, found.by_symbol) == (12, {"ADA": 6, "BTC": 6})
    expected = [(row["symbol"], row["timestamp"]) for row in bad[:integrity.SAMPLE_SIZE]]
    assert [(row["symbol"], row["timestamp"]) for row in found.sample] == expected


@pytest.mark.parametrize(("now", "late", "found"), [
    (DAY + 600, {"BTC": [DAY + 601.1, 5 * DAY], "ADA": [900 * DAY]}, 3),
    (DAY + 600, {"BTC": [DAY + 600], "ETH": [5 * DAY]}, 0),
    # A run of today that crosses midnight; the run that completes yesterday is not concerned with today's rows.
    (2 * DAY - 1, {"BTC": [3 * DAY]}, 1), (2 * DAY + 1, {"BTC": [3 * DAY]}, 1), (2 * DAY + 45, {"BTC": [3 * DAY]}, 0),
    (30 * DAY, {"BTC": [40 * DAY]}, 0),
])
def test_quotes_of_the_future_are_those_after_the_days_of_a_run_of_today(
    database: Database, now: float, late: dict[str, list[float]], found: int
) -> None:
    """A row dated tomorrow lies in no partition that exists yet."""
    insert(database, *(price_row(symbol, minutes) for symbol, times in late.items() for minutes in times))
    assert integrity.quotes_in_future(database, SLICES, at(now)).count == found


def test_refusals_are_those_of_the_run_the_reason_and_the_days(database: Database) -> None:
    rows = store(
        database, rejected_prices,
        refusal_row(1), refusal_row(2, run_id="r0"), refusal_row(3, reason="zero_price"), refusal_row(4, "ETH"),
        refusal_row(5, day=FIRST - timedelta(days=1)), refusal_row(6, "ADA", timestamp=None),
    )
    found = integrity.refusals_of_run(database, "r1", SLICES, [Reason.NEGATIVE_PRICE.value])
    assert (found.count, found.by_symbol, found.sample) == (2, {"ADA": 1, "BTC": 1}, [rows[5], rows[0]])
    assert integrity.refusals_of_run(database, "r1", SLICES, []).count == 0


def test_a_symbol_whose_live_quote_was_refused_is_named_with_the_reason(database: Database) -> None:
    store(
        database, rejected_prices,
        refusal_row(1, "ADA", detail="the price is missing"), refusal_row(2, "BTC", source="market_chart"),
        refusal_row(3, "BTC", run_id="r0"),
    )
    found = integrity.refused_live_symbols(database, "r1", SLICES, Source.LIVE.value)
    assert found == {"ADA": ("negative_price", "the price is missing")}


def test_days_without_a_quote_are_named_by_symbol(database: Database) -> None:
    insert(database, price_row("ADA", 0), price_row("ADA", DAY), price_row("BTC", DAY + 5))
    assert integrity.symbols_without_quote(database, SLICES, GRACE, at(9 * DAY)) == {"BTC": [FIRST]}


@pytest.mark.parametrize(("minutes", "missing"), [(DAY - 11, False), (DAY - 12, True)])
def test_just_after_midnight_the_newest_price_may_be_yesterdays(
    database: Database, minutes: float, missing: bool
) -> None:
    """One from the future of the same day does not count."""
    today = FIRST + timedelta(days=1)
    insert(database, price_row("BTC", minutes), price_row("BTC", DAY + 4))
    found = integrity.symbols_without_quote(database, [Slice("BTC", today, today)], GRACE, at(DAY + 2))
    assert found == ({"BTC": [today]} if missing else {})
