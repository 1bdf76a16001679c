"""What the checks ask is answered truly, also of rows that no constraint has stopped."""

from datetime import timedelta

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import text

from market_pipeline.core.slices import Slice
from market_pipeline.prices.quotes import Reason, Source
from market_pipeline.storage.queries import integrity
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices

DAY = 24 * 60
GRACE = timedelta(minutes=11)


@pytest.fixture
def slices(make):
    """The first two days of two symbols."""
    first = make.START.date()
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


def test_good_rows_offend_nobody(database, make, slices):
    upsert(database, raw_prices, make.prices(make.price("ADA"), make.price("BTC", 5)))
    assert integrity.quotes_not_positive(database, slices) == integrity.Offenders(0, {}, [])
    assert integrity.quotes_in_future(database, slices, make.at(5)) == integrity.Offenders(0, {}, [])


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf"), float("-inf"), None])
def test_every_price_that_is_no_number_above_zero_is_found(unconstrained, make, slices, price):
    good, bad = make.price("BTC", 0), make.price("BTC", 5, price=price)
    insert(
        unconstrained, good, bad, make.price("BTC", 2 * DAY, price=price), make.price("ETH", 5, price=price)
    )
    found = integrity.quotes_not_positive(unconstrained, slices)
    assert (found.count, found.by_symbol) == (1, {"BTC": 1})
    assert [row["timestamp"] for row in found.sample] == [bad["timestamp"]]


def test_the_count_is_exact_and_the_sample_bounded(unconstrained, make, slices):
    insert(unconstrained, *(make.price(s, n, price=-1.0) for s in ("ADA", "BTC") for n in range(7)))
    found = integrity.quotes_not_positive(unconstrained, slices)
    assert (found.count, found.by_symbol, len(found.sample)) == (14, {"ADA": 7, "BTC": 7}, integrity.SAMPLE_SIZE)
    assert [row["symbol"] for row in found.sample] == ["ADA"] * 7 + ["BTC"] * 3


def test_a_quote_of_tomorrow_is_in_the_future_of_a_run_of_today(database, make, slices):
    """It lies in no partition that exists yet."""
    now = make.at(DAY + 600)
    late = [make.price("BTC", DAY + 601.1), make.price("BTC", 5 * DAY), make.price("ADA", 900 * DAY)]
    insert(database, make.price("BTC", DAY + 600), *late, make.price("ETH", 5 * DAY))
    found = integrity.quotes_in_future(database, slices, now)
    assert (found.count, found.by_symbol) == (3, {"BTC": 2, "ADA": 1})


@pytest.mark.parametrize(("minutes", "found"), [(2 * DAY - 1, 1), (2 * DAY + 1, 1), (2 * DAY + 45, 0)])
def test_a_run_of_today_that_crosses_midnight_still_sees_the_future(database, make, slices, minutes, found):
    """But the run that completes yesterday does not answer for today's rows."""
    insert(database, make.price("BTC", 3 * DAY))
    assert integrity.quotes_in_future(database, slices, make.at(minutes)).count == found


def test_a_run_of_past_days_sees_only_its_own_days(database, make, slices):
    insert(database, make.price("BTC", 40 * DAY))
    assert integrity.quotes_in_future(database, slices, make.at(30 * DAY)).count == 0


def test_refusals_are_those_of_the_run_the_reason_and_the_days(database, make, slices):
    rows = [
        make.refusal(1),
        make.refusal(2, run_id="r0"),
        make.refusal(3, reason="zero_price"),
        make.refusal(4, "ETH"),
        make.refusal(5, day=make.START.date() - timedelta(days=1)),
        make.refusal(6, "ADA", timestamp=None),
    ]
    upsert(database, rejected_prices, make.refusals(*rows))
    found = integrity.refusals_of_run(database, "r1", slices, [Reason.NEGATIVE_PRICE.value])
    assert (found.count, found.by_symbol) == (2, {"ADA": 1, "BTC": 1})
    assert found.sample == [rows[5], rows[0]]
    assert integrity.refusals_of_run(database, "r1", slices, []).count == 0


def test_a_symbol_whose_live_answer_was_refused_is_named_with_the_reason(database, make, slices):
    rows = [
        make.refusal(1, "ADA", detail="the price is missing"),
        make.refusal(2, "BTC", source="market_chart"),
        make.refusal(3, "BTC", run_id="r0"),
    ]
    upsert(database, rejected_prices, make.refusals(*rows))
    assert integrity.symbols_unquoted(database, "r1", slices, Source.LIVE.value) == {
        "ADA": "the price is missing"
    }


def test_days_without_a_quote_are_named_by_symbol(database, make, slices):
    first = make.START.date()
    insert(database, make.price("ADA", 0), make.price("ADA", DAY), make.price("BTC", DAY + 5))
    assert integrity.symbols_without_quote(database, slices, GRACE, make.at(9 * DAY)) == {
        "BTC": [first]
    }


@pytest.mark.parametrize(("minutes", "missing"), [(DAY - 11, False), (DAY - 12, True)])
def test_just_after_midnight_the_newest_price_may_be_yesterdays(database, make, minutes, missing):
    """One from the future of the same day does not count."""
    today = make.START.date() + timedelta(days=1)
    insert(database, make.price("BTC", minutes), make.price("BTC", DAY + 4))
    found = integrity.symbols_without_quote(database, [Slice("BTC", today, today)], GRACE, make.at(DAY + 2))
    assert found == ({"BTC": [today]} if missing else {})


def test_a_symbol_without_any_quote_until_now_has_no_newest(database, make):
    insert(database, make.price("BTC", 5), make.price("BTC", 3), make.price("BTC", 6.1), make.price("ETH", 95))
    assert integrity.newest_quote_times(database, ["BTC", "ETH"], make.at(5)) == {"BTC": make.at(5), "ETH": None}
