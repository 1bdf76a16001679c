"""The latest quotes and anomalies, counts of recent rows, and how far each symbol is scored."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import counts, latest
from market_pipeline.storage.queries.latest import StoredQuote
from market_pipeline.storage.queries.scores import newest_scored, record_scored, scored_until, unscored_since
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices, rejected_prices
from market_pipeline_tests.builders import START, anomaly_row, at, price_row, prices_of, refusal_row, store

SYMBOLS = ["BTC", "ETH", "ADA"]
DAY = 24 * 60


def test_the_quote_at_a_time_is_the_newest_up_to_it(database: Database) -> None:
    store(database, raw_prices, *(price_row(minutes=n, price=1.0 + n) for n in (0, 5, 10)), price_row("ADA", 1))
    quote = StoredQuote(at(5), 6.0)
    for minutes, expected in ((9, {"BTC": quote, "ADA": StoredQuote(at(1), 100.0)}), (-1, {})):
        assert latest.quotes_at(database, SYMBOLS, at(minutes)) == expected
    assert latest.quotes_at(database, ["BTC"], at(5)) == {"BTC": quote}
    assert latest.quotes_at(database, SYMBOLS, at(3 * DAY)) == {
        "BTC": StoredQuote(at(10), 11.0), "ADA": StoredQuote(at(1), 100.0),
    }, "after an outage"
    assert latest.newest_quote_times(database, SYMBOLS, at(8)) == {"BTC": at(5), "ETH": None, "ADA": at(1)}


def test_any_number_of_symbols_is_answered(sqlite_database: Database) -> None:
    """SQLite takes 500 parts of a statement at once."""
    store(sqlite_database, raw_prices, price_row())
    symbols = [f"X{number}" for number in range(600)]
    times = latest.newest_quote_times(sqlite_database, [*symbols, "BTC"], at(5))
    assert times == {**dict.fromkeys(symbols), "BTC": at(0)}


def test_bad_ticks_and_the_future_are_no_latest_quote(database: Database) -> None:
    """The bad price was repeated, with another in between, until minute 25 undid it."""
    printed = {0: 100.0, 5: 101.0, 10: 100_000.0, 15: 100.0, 20: 99_000.0, 25: 100.5, 96: 7.0}
    store(database, raw_prices, *(price_row(minutes=minute, price=price) for minute, price in printed.items()))
    bad: dict[str, Any] = {"kind": "bad_tick", "detected_at": at(25), "price_before": 101.0, "price_after": 100_000.0}
    store(database, price_anomalies, anomaly_row(minutes=10, **bad))
    found = {minute: latest.latest_quotes(database, ["BTC"], at(minute))["BTC"] for minute in (12, 17, 22, 94, 95)}
    assert found == {
        12: StoredQuote(at(5), 101.0), 17: StoredQuote(at(15), 100.0), 22: StoredQuote(at(15), 100.0),
        94: StoredQuote(at(25), 100.5), 95: StoredQuote(at(96), 7.0),
    }


def test_the_change_of_a_day_is_from_the_quote_nearest_to_24_hours_before_the_newest(database: Database) -> None:
    """ADA: of two equally near ones the earlier; ETH: the last one is more than an hour from both."""
    ada, eth = {0: 10.0, 60: 30.0, DAY + 30: 40.0}, {0: 10.0, 122: 30.0, DAY + 60: 50.0, DAY + 61: 40.0}
    store(database, raw_prices, *(price_row(minutes=minutes, price=price) for minutes, price in (
        (-61, 9.0), (-1, 10.0), (4, 20.0), (DAY, 50.0), (DAY + 5, 60.0),
    )))
    store(database, raw_prices, *(price_row("ADA", minutes=minutes, price=price) for minutes, price in ada.items()))
    store(database, raw_prices, *(price_row("ETH", minutes=minutes, price=price) for minutes, price in eth.items()))

    def changes(minutes: float) -> dict[str, float]:
        quotes = latest.latest_quotes(database, SYMBOLS, at(minutes))
        found = latest.day_changes(database, quotes, at(minutes))
        return {symbol: round(change, 9) for symbol, change in found.items()}

    assert changes(DAY) == {"BTC": 4.0}
    assert changes(DAY + 59.5)["ETH"] == 4.0
    assert changes(DAY + 90) == changes(2 * DAY) == {"BTC": 2.0, "ADA": 3.0}
    assert changes(2 * DAY + 29) == {"ADA": 3.0}, "the newest of BTC is over a day old"
    bad: dict[str, Any] = {"kind": "bad_tick", "detected_at": at(8), "price_before": 10.0, "price_after": 20.0}
    store(database, price_anomalies, anomaly_row(minutes=4, **bad), anomaly_row("ADA", minutes=4, **bad))
    assert changes(DAY + 90) == {"BTC": 5.0, "ADA": 3.0}
    assert latest.day_changes(database, {}, at(DAY)) == {}


def test_beside_a_bad_tick_too_a_quote_an_hour_later_is_near(sqlite_database: Database) -> None:
    prices = {4: 99.0, 60: 10.0, DAY: 20.0}
    store(sqlite_database, raw_prices, *(price_row(minutes=minutes, price=price) for minutes, price in prices.items()))
    bad: dict[str, Any] = {"kind": "bad_tick", "detected_at": at(8), "price_before": 10.0, "price_after": 99.0}
    store(sqlite_database, price_anomalies, anomaly_row(minutes=4, **bad))
    newest = {"BTC": StoredQuote(at(DAY), 20.0)}
    assert latest.day_changes(sqlite_database, newest, at(DAY)) == {"BTC": 1.0}


def test_anomalies_are_newest_first_from_a_time_on(database: Database) -> None:
    store(
        database, price_anomalies,
        anomaly_row("BTC", 0), anomaly_row("BTC", 5, kind="large_move", expected_move=None), anomaly_row("BTC", 5),
        anomaly_row("ADA", 5), anomaly_row("ETH", 9), anomaly_row("DOT", 9),
    )
    found = latest.anomalies_since(database, SYMBOLS, at(5))
    assert list(zip(found["symbol"], found["kind"], strict=True)) == [
        ("ETH", "jump"), ("ADA", "jump"), ("BTC", "jump"), ("BTC", "large_move"),
    ]
    assert found.datetimes("timestamp") == [at(9), at(5), at(5), at(5)]
    assert list(found.arrays) == [column.name for column in price_anomalies.columns]
    assert len(latest.anomalies_since(database, SYMBOLS, at(10))) == 0


def test_recent_rows_are_counted(database: Database) -> None:
    """A row that another one represents is no alarm."""
    store(database, raw_prices, *(price_row(symbol, n) for symbol in ("ADA", "BTC") for n in (99, 9, 5, 0)))
    found = counts.quotes_by_symbol(database, ["ADA", "BTC", "DOT"], at(5), at(9))
    assert found == {"ADA": 2, "BTC": 2, "DOT": 0}
    event = anomaly_row("BTC", 9, kind="market_move")
    store(
        database, price_anomalies, {**event, "event_id": event["id"]}, anomaly_row("BTC", 7, severity="watch"),
        anomaly_row("ADA", 9, event_id=event["id"]), anomaly_row("BTC", 1), anomaly_row("DOT", 9),
    )
    alarms = counts.alarms_by_severity(database, SYMBOLS, at(5))
    assert alarms == {("BTC", "alert"): 1, ("BTC", "watch"): 1}
    store(database, rejected_prices, refusal_row(1), refusal_row(9), refusal_row(8, "ETH", source="market_chart"))
    many = [f"X{number}" for number in range(1_000)]
    assert counts.recently_refused(database, [*SYMBOLS, *many], at(5)) == {"BTC"}, "SQLite nests 1,000 conditions"
    assert counts.refusals_by_reason(database, at(5)) == {"negative_price": 2}


NOON = START + timedelta(hours=12)
TODAY, YESTERDAY = START.date(), START.date() - timedelta(days=1)


@pytest.mark.parametrize(("days", "newest"), [
    ([TODAY], at(715)), ([YESTERDAY], at(-80)), ([YESTERDAY, TODAY], at(715)),
])
def test_the_newest_scored_quote_is_in_the_days_of_the_run_and_not_in_the_future(
    days: list[date], newest: datetime
) -> None:
    prices = prices_of(*(price_row(minutes=minutes) for minutes in (-180, -80, 710, 715, 750)))
    assert newest_scored(prices, [(day, "BTC") for day in days], NOON) == {"BTC": newest}
    assert newest_scored(prices, [(day, "ETH") for day in days], NOON) == {}, "read, but not scored"


def test_scoring_an_earlier_day_again_moves_nothing_back(database: Database) -> None:
    record_scored(database, {"BTC": at(60), "ETH": at(60)})
    record_scored(database, {"BTC": at(0), "ETH": at(65)})
    assert scored_until(database, SYMBOLS) == {"BTC": at(60), "ETH": at(65), "ADA": None}
    store(database, raw_prices, price_row(minutes=65))
    assert unscored_since(database, {"BTC": at(60)}, at(70)).keys() == {"BTC"}
    other = Database(database.url, {"BTC": "bitcoin-cash"})
    assert scored_until(other, ["BTC"]) == {"BTC": None}, "another coin of the same symbol"
    assert unscored_since(other, {"BTC": None}, at(70)) == {}
    other.dispose()


def test_quotes_wait_from_when_the_first_of_them_was_stored(database: Database) -> None:
    """A quote of the future does not wait; the search is bounded after a long outage."""
    store(database, raw_prices, *(price_row(minutes=minutes) for minutes in (-9 * DAY, -20, -10, -5, 90)))
    waiting = {minutes: unscored_since(database, {"BTC": None if minutes is None else at(minutes)}, at(0))
               for minutes in (None, -20, -5)}
    assert waiting == {None: {"BTC": at(-19)}, -20: {"BTC": at(-9)}, -5: {}}
