"""The overview's numbers: newest and earlier quotes, recent anomalies, series for the picture."""

from market_pipeline.storage import overview
from market_pipeline.storage.overview import StoredQuote
from market_pipeline.storage.tables import price_anomalies, raw_prices
from market_pipeline.storage.write import upsert

SYMBOLS = ["BTC", "ETH", "ADA"]


def test_the_newest_quote_of_each_symbol_that_has_one(database, make):
    upsert(
        database,
        raw_prices,
        make.prices(make.price(minutes=5, price=2.0), make.price(minutes=0), make.price("ADA", 1)),
    )
    assert overview.latest_quotes(database, SYMBOLS) == {
        "BTC": StoredQuote(make.at(5), 2.0),
        "ADA": StoredQuote(make.at(1), 100.0),
    }


def test_the_quote_at_a_time_is_the_newest_up_to_it(database, make):
    upsert(database, raw_prices, make.prices(*(make.price(minutes=n, price=1.0 + n) for n in (0, 5, 10))))
    assert overview.quotes_at(database, SYMBOLS, make.at(9)) == {"BTC": StoredQuote(make.at(5), 6.0)}
    assert overview.quotes_at(database, SYMBOLS, make.at(5)) == {"BTC": StoredQuote(make.at(5), 6.0)}
    assert overview.quotes_at(database, SYMBOLS, make.at(-1)) == {}


def test_anomalies_are_newest_first_from_the_asked_time_on(database, make):
    rows = [
        make.anomaly("BTC", 0),
        make.anomaly("BTC", 5, kind="large_move", expected_move=None),
        make.anomaly("BTC", 5),
        make.anomaly("ADA", 5),
        make.anomaly("ETH", 9),
        make.anomaly("DOT", 9),
    ]
    upsert(database, price_anomalies, make.anomalies(*rows))
    found = overview.anomalies_since(database, SYMBOLS, make.at(5))
    assert list(zip(found["symbol"], found["kind"])) == [
        ("ETH", "jump"),
        ("ADA", "jump"),
        ("BTC", "jump"),
        ("BTC", "large_move"),
    ]
    assert found.datetimes("timestamp") == [make.at(9), make.at(5), make.at(5), make.at(5)]
    assert list(found.arrays) == [column.name for column in price_anomalies.columns]
    assert len(overview.anomalies_since(database, SYMBOLS, make.at(10))) == 0


def test_quotes_are_counted_from_a_time_on(database, make):
    rows = [make.price(symbol, n) for symbol in ("ADA", "BTC") for n in (9, 5, 0)]
    upsert(database, raw_prices, make.prices(*rows))
    assert overview.quotes_since(database, SYMBOLS, make.at(5)) == 4
    assert overview.quotes_since(database, ["DOT"], make.at(0)) == 0
