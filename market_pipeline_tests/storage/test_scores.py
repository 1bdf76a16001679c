"""Up to which quote each symbol is scored, and since when newer quotes wait."""

from datetime import datetime, timedelta, timezone

import pytest

from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.scores import newest_scored, record_scored, scored_until, unscored_since
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import coin_id

NOON = datetime(2026, 5, 2, 12, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
TODAY, YESTERDAY = NOON.date(), NOON.date() - timedelta(days=1)


def quotes(*minutes, symbol="BTC"):
    """Quotes so many minutes after noon, each stored a minute later."""
    return columns_of(raw_prices, [
        Quote(symbol, coin_id(symbol), NOON + n * MINUTE, 1.0, Source.LIVE, NOON + (n + 1) * MINUTE)
        for n in minutes
    ])


@pytest.mark.parametrize(("days", "newest"), [
    ([TODAY], NOON - 5 * MINUTE), ([YESTERDAY], NOON - 800 * MINUTE), ([YESTERDAY, TODAY], NOON - 5 * MINUTE),
])
def test_the_newest_scored_quote_is_in_the_days_of_the_run_and_not_in_the_future(days, newest):
    prices = quotes(-900, -800, -10, -5, 30)
    assert newest_scored(prices, [(day, "BTC") for day in days], NOON) == {"BTC": newest}
    assert newest_scored(prices, [(day, "ETH") for day in days], NOON) == {}, "read, but not scored"


def test_scoring_an_earlier_day_again_moves_nothing_back(database):
    symbols = ["BTC", "ETH", "SOL"]
    record_scored(database, {"BTC": NOON, "ETH": NOON})
    record_scored(database, {"BTC": NOON - 60 * MINUTE, "ETH": NOON + 5 * MINUTE})
    assert scored_until(database, symbols) == {"BTC": NOON, "ETH": NOON + 5 * MINUTE, "SOL": None}


def test_another_coin_of_the_same_symbol_is_not_scored_yet(sqlite_database):
    record_scored(sqlite_database, {"BTC": NOON})
    other = Database(sqlite_database.url, {"BTC": "bitcoin-cash"})
    upsert(sqlite_database, raw_prices, quotes(-5))
    assert scored_until(other, ["BTC"]) == {"BTC": None} and unscored_since(other, {"BTC": None}, NOON) == {}
    other.dispose()


def test_quotes_wait_from_when_the_first_of_them_was_stored(database):
    upsert(database, raw_prices, quotes(-20, -10, -5, 90))
    waiting = {at: unscored_since(database, {"BTC": at}, NOON) for at in (None, NOON - 20 * MINUTE, NOON - 5 * MINUTE)}
    assert waiting == {
        None: {"BTC": NOON - 19 * MINUTE}, NOON - 20 * MINUTE: {"BTC": NOON - 9 * MINUTE}, NOON - 5 * MINUTE: {},
    }
