"""Prices that change after the fact: the old value is kept, whoever writes and by whichever way."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from market_pipeline.core.slices import Slice
from market_pipeline.storage.db_errors import WriteFailed
from market_pipeline.storage.revisions import Revision, revisions
from market_pipeline.storage.rows import write
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import START, at, price_row, prices_of


@pytest.fixture
def day():
    return Slice("BTC", START.date(), START.date())


def test_a_changed_price_leaves_the_old_one_behind(database, path, day):
    write.upsert(database, tables.raw_prices, prices_of(price_row(price=100.0), price_row(minutes=5)))
    assert revisions(database, [day]) == []
    again = price_row(price=101.0, source="market_chart", ingested_at=at(60))
    write.upsert(database, tables.raw_prices, prices_of(again))
    assert revisions(database, [day]) == [
        Revision("BTC", at(0), 100.0, "simple_price", at(1), 101.0, "market_chart", at(60))
    ]


def test_fetching_the_same_price_again_writes_nothing(database, path, day):
    write.upsert(database, tables.raw_prices, prices_of(price_row()))
    later = price_row(ingested_at=at(60), source="market_chart")
    assert write.upsert(database, tables.raw_prices, prices_of(later)) == 0
    assert revisions(database, [day]) == []


def test_a_bulk_of_changed_prices_leaves_every_old_one_behind(database):
    """The way of large writes, at the size from which it is taken."""
    count = write.BULK_FROM
    first = START.date()
    whole = Slice("BTC", first, first + timedelta(days=count // 1_440 + 1))
    for price in (100.0, 101.0):
        rows = [price_row(minutes=minute, price=price + minute % 7) for minute in range(count)]
        write.upsert(database, tables.raw_prices, prices_of(*rows))
    kept = revisions(database, [whole])
    assert len(kept) == count
    assert {one.price_after - one.price_before for one in kept} == {1.0}
    assert {one.timestamp for one in kept} == {at(minute) for minute in range(count)}


def test_a_price_corrected_by_hand_leaves_the_old_one_behind_too(database, day):
    write.upsert(database, tables.raw_prices, prices_of(price_row(price=100.0)))
    with database.writing() as connection:
        connection.execute(update(tables.raw_prices).values(price=99.0))
    (kept,) = revisions(database, [day])
    assert (kept.price_before, kept.price_after) == (100.0, 99.0)


def test_every_change_is_kept_in_order(database, day):
    for price in (100.0, 101.0, 100.0):
        write.upsert(database, tables.raw_prices, prices_of(price_row(price=price)))
    assert [(one.price_before, one.price_after) for one in revisions(database, [day])] == [
        (100.0, 101.0), (101.0, 100.0)
    ]


def test_a_write_that_fails_leaves_no_revision(database, path, day):
    write.upsert(database, tables.raw_prices, prices_of(price_row(price=100.0)))
    bad = prices_of(price_row(price=101.0), price_row(minutes=5, price=-1.0))
    with pytest.raises(WriteFailed):
        write.upsert(database, tables.raw_prices, bad)
    assert revisions(database, [day]) == []


def test_revisions_of_other_slices_are_left_out(database, day):
    for price in (100.0, 101.0):
        rows = [price_row(price=price), price_row("ETH", price=price), price_row(minutes=1_440, price=price)]
        write.upsert(database, tables.raw_prices, prices_of(*rows))
    assert [(one.symbol, one.timestamp) for one in revisions(database, [day])] == [("BTC", at(0))]
