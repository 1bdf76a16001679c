"""The overview's numbers: newest and earlier quotes, recent anomalies, series for the picture."""

from market_pipeline.storage.queries import latest as overview
from market_pipeline.storage.queries.counts import quotes_by_symbol
from market_pipeline.storage.queries.latest import StoredQuote
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import anomalies_of, anomaly_row, at, price_row, prices_of

SYMBOLS = ["BTC", "ETH", "ADA"]


def test_the_newest_quote_of_each_symbol_that_has_one(database):
    upsert(
        database,
        raw_prices,
        prices_of(price_row(minutes=5, price=2.0), price_row(minutes=0), price_row("ADA", 1)),
    )
    assert overview.latest_quotes(database, SYMBOLS, at(5)) == {
        "BTC": StoredQuote(at(5), 2.0),
        "ADA": StoredQuote(at(1), 100.0),
    }


def test_the_quote_at_a_time_is_the_newest_up_to_it(database):
    upsert(database, raw_prices, prices_of(*(price_row(minutes=n, price=1.0 + n) for n in (0, 5, 10))))
    assert overview.quotes_at(database, SYMBOLS, at(9)) == {"BTC": StoredQuote(at(5), 6.0)}
    assert overview.quotes_at(database, SYMBOLS, at(5)) == {"BTC": StoredQuote(at(5), 6.0)}
    assert overview.quotes_at(database, SYMBOLS, at(-1)) == {}


def test_bad_ticks_and_the_future_are_no_latest_quote_and_no_quote_of_a_day_ago(database):
    """The bad print was repeated, with a slip in between, until minute 25 undid it."""
    printed = {0: 100.0, 5: 101.0, 10: 100_000.0, 15: 100.0, 20: 99_000.0, 25: 100.5, 96: 7.0}
    upsert(database, raw_prices, prices_of(*(price_row(minutes=at, price=price) for at, price in printed.items())))
    bad = {"kind": "bad_tick", "detected_at": at(25), "price_before": 101.0, "price_after": 100_000.0}
    upsert(database, price_anomalies, anomalies_of(anomaly_row(minutes=10, **bad)))
    latest = {
        minute: overview.latest_quotes(database, ["BTC"], at(minute))["BTC"] for minute in (12, 17, 22, 94, 95)
    }
    assert latest == {
        12: StoredQuote(at(5), 101.0), 17: StoredQuote(at(15), 100.0), 22: StoredQuote(at(15), 100.0),
        94: StoredQuote(at(25), 100.5), 95: StoredQuote(at(96), 7.0),
    }
    assert overview.quotes_at(database, ["BTC"], at(10)) == {"BTC": StoredQuote(at(5), 101.0)}


def test_anomalies_are_newest_first_from_the_asked_time_on(database):
    rows = [
        anomaly_row("BTC", 0),
        anomaly_row("BTC", 5, kind="large_move", expected_move=None),
        anomaly_row("BTC", 5),
        anomaly_row("ADA", 5),
        anomaly_row("ETH", 9),
        anomaly_row("DOT", 9),
    ]
    upsert(database, price_anomalies, anomalies_of(*rows))
    found = overview.anomalies_since(database, SYMBOLS, at(5))
    assert list(zip(found["symbol"], found["kind"])) == [
        ("ETH", "jump"),
        ("ADA", "jump"),
        ("BTC", "jump"),
        ("BTC", "large_move"),
    ]
    assert found.datetimes("timestamp") == [at(9), at(5), at(5), at(5)]
    assert list(found.arrays) == [column.name for column in price_anomalies.columns]
    assert len(overview.anomalies_since(database, SYMBOLS, at(10))) == 0


def test_quotes_are_counted_from_a_time_on(database):
    rows = [price_row(symbol, n) for symbol in ("ADA", "BTC") for n in (99, 9, 5, 0)]
    upsert(database, raw_prices, prices_of(*rows))
    counts = quotes_by_symbol(database, ["ADA", "BTC", "DOT"], at(5), at(9))
    assert counts == {"ADA": 2, "BTC": 2, "DOT": 0}
