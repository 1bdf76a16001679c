"""What the checks ask is answered truly, also of rows that no constraint has stopped."""

from datetime import timedelta

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import text

from market_pipeline.core.slices import Slice
from market_pipeline.prices.quotes import Reason, Source
from market_pipeline.storage.queries import integrity, latest
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices
from market_pipeline_tests.builders import START, at, price_row, prices_of, refusal_row, refusals_of

DAY = 24 * 60
GRACE = timedelta(minutes=11)


@pytest.fixture
def slices():
    """The first two days of two symbols."""
    first = START.date()
    return [Slice(symbol, first, first + timedelta(days=1)) for symbol in ("ADA", "BTC")]


@pytest.fixture
def unconstrained(database):
    """`raw_prices` as somebody may have left it: prices of any kind, or none."""
    with database.writing() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("ALTER TABLE raw_prices DROP CONSTRAINT raw_prices_price_is_positive"))
            connection.execute(text("ALTER TABLE raw_prices ALTER price DROP NOT NULL"))
        else:
            operations = Operations(MigrationContext.configure(connection))
            operations.drop_table("raw_prices")
            connection.execute(
                text(
                    "CREATE TABLE raw_prices (symbol TEXT, coin_id TEXT, timestamp BIGINT, price DOUBLE, "
                    "source TEXT, ingested_at BIGINT, PRIMARY KEY (symbol, coin_id, timestamp))"
                )
            )
    return database


def insert(database, *rows):
    with database.writing() as connection:
        connection.execute(raw_prices.insert(), rows)


def test_good_rows_offend_nobody(database, slices):
    upsert(database, raw_prices, prices_of(price_row("ADA"), price_row("BTC", 5)))
    assert integrity.quotes_not_positive(database, slices) == integrity.Offenders(0, {}, [])
    assert integrity.quotes_in_future(database, slices, at(5)) == integrity.Offenders(0, {}, [])


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf"), float("-inf"), None])
def test_every_price_that_is_no_number_above_zero_is_found(unconstrained, slices, price):
    good, bad = price_row("BTC", 0), price_row("BTC", 5, price=price)
    insert(
        unconstrained, good, bad, price_row("BTC", 2 * DAY, price=price), price_row("ETH", 5, price=price)
    )
    found = integrity.quotes_not_positive(unconstrained, slices)
    assert (found.count, found.by_symbol) == (1, {"BTC": 1})
    assert [row["timestamp"] for row in found.sample] == [bad["timestamp"]]


def test_the_count_is_exact_and_the_sample_bounded(unconstrained, slices):
    insert(unconstrained, *(price_row(s, n, price=-1.0) for s in ("ADA", "BTC") for n in range(7)))
    found = integrity.quotes_not_positive(unconstrained, slices)
    assert (found.count, found.by_symbol, len(found.sample)) == (14, {"ADA": 7, "BTC": 7}, integrity.SAMPLE_SIZE)
    assert [row["symbol"] for row in found.sample] == ["ADA"] * 7 + ["BTC"] * 3


def test_a_quote_of_tomorrow_is_in_the_future_of_a_run_of_today(database, slices):
    """It lies in no partition that exists yet."""
    now = at(DAY + 600)
    late = [price_row("BTC", DAY + 601.1), price_row("BTC", 5 * DAY), price_row("ADA", 900 * DAY)]
    insert(database, price_row("BTC", DAY + 600), *late, price_row("ETH", 5 * DAY))
    found = integrity.quotes_in_future(database, slices, now)
    assert (found.count, found.by_symbol) == (3, {"BTC": 2, "ADA": 1})


@pytest.mark.parametrize(("minutes", "found"), [(2 * DAY - 1, 1), (2 * DAY + 1, 1), (2 * DAY + 45, 0)])
def test_a_run_of_today_that_crosses_midnight_still_sees_the_future(database, slices, minutes, found):
    """But the run that completes yesterday does not answer for today's rows."""
    insert(database, price_row("BTC", 3 * DAY))
    assert integrity.quotes_in_future(database, slices, at(minutes)).count == found


def test_a_run_of_past_days_sees_only_its_own_days(database, slices):
    insert(database, price_row("BTC", 40 * DAY))
    assert integrity.quotes_in_future(database, slices, at(30 * DAY)).count == 0


def test_refusals_are_those_of_the_run_the_reason_and_the_days(database, slices):
    rows = [
        refusal_row(1),
        refusal_row(2, run_id="r0"),
        refusal_row(3, reason="zero_price"),
        refusal_row(4, "ETH"),
        refusal_row(5, day=START.date() - timedelta(days=1)),
        refusal_row(6, "ADA", timestamp=None),
    ]
    upsert(database, rejected_prices, refusals_of(*rows))
    found = integrity.refusals_of_run(database, "r1", slices, [Reason.NEGATIVE_PRICE.value])
    assert (found.count, found.by_symbol) == (2, {"ADA": 1, "BTC": 1})
    assert found.sample == [rows[5], rows[0]]
    assert integrity.refusals_of_run(database, "r1", slices, []).count == 0


def test_a_symbol_whose_live_answer_was_refused_is_named_with_the_reason(database, slices):
    rows = [
        refusal_row(1, "ADA", detail="the price is missing"),
        refusal_row(2, "BTC", source="market_chart"),
        refusal_row(3, "BTC", run_id="r0"),
    ]
    upsert(database, rejected_prices, refusals_of(*rows))
    assert integrity.refused_live_symbols(database, "r1", slices, Source.LIVE.value) == {
        "ADA": "the price is missing"
    }


def test_days_without_a_quote_are_named_by_symbol(database, slices):
    first = START.date()
    insert(database, price_row("ADA", 0), price_row("ADA", DAY), price_row("BTC", DAY + 5))
    assert integrity.symbols_without_quote(database, slices, GRACE, at(9 * DAY)) == {
        "BTC": [first]
    }


@pytest.mark.parametrize(("minutes", "missing"), [(DAY - 11, False), (DAY - 12, True)])
def test_just_after_midnight_the_newest_price_may_be_yesterdays(database, minutes, missing):
    """One from the future of the same day does not count."""
    today = START.date() + timedelta(days=1)
    insert(database, price_row("BTC", minutes), price_row("BTC", DAY + 4))
    found = integrity.symbols_without_quote(database, [Slice("BTC", today, today)], GRACE, at(DAY + 2))
    assert found == ({"BTC": [today]} if missing else {})


def test_a_symbol_without_any_quote_until_now_has_no_newest(database):
    insert(database, price_row("BTC", 5), price_row("BTC", 3), price_row("BTC", 6.1), price_row("ETH", 95))
    assert latest.newest_quote_times(database, ["BTC", "ETH"], at(5)) == {"BTC": at(5), "ETH": None}
