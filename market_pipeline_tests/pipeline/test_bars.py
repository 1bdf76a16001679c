"""The rows of `daily_bars`: which days have one, and of which quotes it is made."""

from datetime import date, timedelta
from typing import Any

from market_pipeline.core.clock import DAY
from market_pipeline.core.slices import DayOfSymbol, merge_days
from market_pipeline.pipeline.bars import bar_facts, bar_rows, thinning_limit
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.rows.write import replace
from market_pipeline.storage.schema.tables import daily_bars, price_anomalies, raw_prices
from market_pipeline_tests.builders import START, anomaly_row, price_row, store, stored_rows

FIRST = START.date()
SECOND = FIRST + DAY
MINUTES = 24 * 60
NOW = START + 2 * DAY + timedelta(hours=1)


def bar(database: Database, *days: DayOfSymbol, thinned_before: date | None = None) -> list[tuple[Any, ...]]:
    """Write the bars of `days` as the asset does; those that are then stored."""
    prices = read_columns(database, raw_prices, merge_days(days), ["symbol", "timestamp", "price"])
    rows = bar_rows(database, prices, days, NOW, thinned_before)
    assert {one: facts["rows"] for one, facts in bar_facts(rows, days).items()}.keys() == set(days)
    replace(database, daily_bars, rows, merge_days(days))
    names = ("symbol", "day", "open", "high", "low", "close", "quotes")
    return [tuple(row[name] for name in names) for row in stored_rows(database, daily_bars)]


def test_days_that_are_over_have_bars_without_bad_ticks(database: Database) -> None:
    """Neither the price of another coin nor a day without a good quote makes one."""
    quotes = (("BTC", 0, 100.0), ("BTC", 800, 900.0), ("BTC", 1439, 99.0), ("BTC", 2 * MINUTES, 7.0), ("ETH", 5, 3.0))
    store(database, raw_prices, *(price_row(symbol, minute, price) for symbol, minute, price in quotes))
    store(database, raw_prices, price_row("ETH", MINUTES + 5, 4.0, coin_id="another"))
    bad = anomaly_row(minutes=800, kind="bad_tick", price_after=900.0, detected_at=START + timedelta(minutes=805))
    store(database, price_anomalies, bad)
    days = [(START.date() + number * DAY, symbol) for number in range(3) for symbol in ("BTC", "ETH")]
    expected = [("BTC", FIRST, 100.0, 100.0, 99.0, 99.0, 2), ("ETH", FIRST, 3.0, 3.0, 3.0, 3.0, 1)]
    assert bar(database, *days) == expected
    store(database, raw_prices, price_row("ETH", 9, 2.0))
    assert bar(database, (FIRST, "ETH"))[1] == ("ETH", FIRST, 3.0, 3.0, 2.0, 2.0, 2)
    assert bar(database, (FIRST, "BTC"))[0] == expected[0], "made again it is the same"


def test_a_bar_from_before_its_prices_were_thinned_is_kept(sqlite_database: Database) -> None:
    """Unless it has no more quotes: those of ETH were corrected."""
    store(sqlite_database, raw_prices, price_row(), price_row(minutes=MINUTES), price_row("ETH", 5, 3.0))
    full = {"open": 1.0, "high": 2.0, "low": 1.0, "close": 1.0, "quotes": 288, "realised_volatility": None}
    rows = [
        {"symbol": "BTC", "coin_id": "bitcoin", "day": day, "completeness": 1.0, **full} for day in (FIRST, SECOND)
    ]
    store(sqlite_database, daily_bars, *rows, {**rows[0], "symbol": "ETH", "coin_id": "ethereum", "quotes": 1})
    found = bar(sqlite_database, (FIRST, "BTC"), (SECOND, "BTC"), (FIRST, "ETH"), thinned_before=SECOND)
    assert [(row[1], row[2], row[-1]) for row in found] == [(FIRST, 1.0, 288), (SECOND, 100.0, 1), (FIRST, 3.0, 1)]
    assert thinning_limit(None, NOW) is None and thinning_limit(200, NOW) == NOW.date() - 200 * DAY
