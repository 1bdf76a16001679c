"""Counting what a day holds once something new arrives."""

from datetime import date, datetime, timedelta, timezone

from market_pipeline.prices.coverage import changes_by_day, quotes_by_day, refusals_by_day
from market_pipeline.prices.quotes import Quote, Reason, Refusal, Source
from market_pipeline_tests.builders import coin_id

MIDNIGHT = datetime(2026, 5, 2, tzinfo=timezone.utc)


def quote(symbol, moment):
    return Quote(symbol, coin_id(symbol), moment, 1.0, Source.LIVE, moment)


def refusal(symbol, day, payload):
    return Refusal(symbol, coin_id(symbol), day, Reason.ZERO_PRICE, "zero", None, payload, Source.LIVE, MIDNIGHT)


def test_a_quote_that_is_stored_already_adds_no_row():
    stored = [("BTC", MIDNIGHT), ("BTC", MIDNIGHT + timedelta(minutes=5))]
    arriving = [quote("BTC", MIDNIGHT), quote("BTC", MIDNIGHT + timedelta(minutes=10)), quote("ETH", MIDNIGHT)]
    assert quotes_by_day(stored, arriving) == {(date(2026, 5, 2), "BTC"): 3, (date(2026, 5, 2), "ETH"): 1}


def test_quotes_on_both_sides_of_midnight_are_of_two_days():
    rows = quotes_by_day([], [quote("BTC", MIDNIGHT - timedelta(microseconds=1)), quote("BTC", MIDNIGHT)])
    assert rows == {(date(2026, 5, 1), "BTC"): 1, (date(2026, 5, 2), "BTC"): 1}


def test_the_same_refusal_is_counted_once():
    day = date(2026, 5, 2)
    known = refusal("BTC", day, "{}")
    rows = refusals_by_day([(known.id, day, "BTC")], [known, refusal("BTC", day, "[]")])
    assert rows == {(day, "BTC"): 2}


def test_a_stored_time_with_another_price_is_a_change():
    stored = {("BTC", MIDNIGHT): 1.0, ("ETH", MIDNIGHT): 2.0}
    arriving = [quote("BTC", MIDNIGHT), quote("ETH", MIDNIGHT), quote("ETH", MIDNIGHT + timedelta(hours=1))]
    assert changes_by_day(stored, arriving) == {(date(2026, 5, 2), "ETH"): 1}
