"""Prices newest first: limits, times, pages, and who has none."""

import pytest

from market_pipeline_tests.api.reads.rows import (
    ARROW,
    anomaly,
    at,
    points_of,
    some_prices,
    store_anomalies,
    store_prices,
    walk,
)
from market_pipeline_tests.builders import price_row

FORMATS = ("application/json", "text/csv", ARROW)


def test_the_newest_prices_come_first(client, database):
    stored = some_prices(database, count=5)
    some_prices(database, "ETH", count=9)
    answer = client.get("/prices/BTC")
    assert answer.json() == {"symbol": "BTC", "points": stored, "next_cursor": None}
    assert "Link" not in answer.headers
    assert client.get("/prices/BTC?limit=2").json()["points"] == stored[:2]


def test_a_hundred_rows_are_given_unless_said_otherwise(client, database):
    some_prices(database, count=101)
    answer = client.get("/prices/BTC").json()
    assert len(answer["points"]) == 100
    assert answer["next_cursor"] is not None


def test_a_symbol_may_be_written_in_lower_case(client, database):
    stored = some_prices(database)
    for path in ("/prices/btc", "/prices/Btc"):
        assert client.get(path).json() == {"symbol": "BTC", "points": stored, "next_cursor": None}
    assert client.get("/prices/btc/latest").json() == {"symbol": "BTC", **stored[0]}


def test_the_start_is_inside_and_the_end_is_not(client, database):
    stored = some_prices(database, count=5)
    query = "start=2024-03-01T00:01:00Z&end=2024-03-01T00:03:00Z"
    assert client.get(f"/prices/BTC?{query}").json()["points"] == stored[2:4]
    shifted = "start=2024-03-01T01:01:00%2B01:00&end=2024-02-29T23:03:00-01:00"
    assert client.get(f"/prices/BTC?{shifted}").json()["points"] == stored[2:4]
    assert client.get("/prices/BTC?start=2024-03-01&end=2024-03-02").json()["points"] == stored
    assert client.get("/prices/BTC?start=2024-03-02").json()["points"] == []
    assert client.get("/prices/BTC?start=2024-03-01T00:03:00Z&end=2024-03-01").json()["points"] == []


@pytest.mark.parametrize("media_type", FORMATS)
@pytest.mark.parametrize("limit", [1, 3, 4, 12, 13])
def test_pages_give_every_row_once_while_newer_ones_arrive(client, database, media_type, limit):
    """Twelve rows: with limits that divide them, that do not, that just fit, and more than enough."""
    stored = some_prices(database, count=12)
    arriving = iter(range(100, 200))

    def between():
        some_prices(database, count=1, first=next(arriving))

    pages = walk(client, f"/prices/BTC?limit={limit}", between, headers={"Accept": media_type})
    assert [point for page in pages for point in points_of(page)] == stored
    assert len(pages) == -(-12 // limit)


def test_a_page_behind_a_cursor_keeps_start_and_end(client, database):
    stored = some_prices(database, count=9)
    query = "start=2024-03-01T00:01:00Z&end=2024-03-01T00:07:00%2B00:00"
    pages = walk(client, f"/prices/BTC?limit=2&{query}")
    assert [point for page in pages for point in points_of(page)] == stored[2:8]
    assert pages[0].links["next"]["url"].startswith("?limit=2&start=2024-03-01T00")


def test_the_next_page_is_the_same_by_cursor_and_by_link(client, database):
    some_prices(database, count=5)
    first = client.get("/prices/BTC?limit=2")
    by_cursor = client.get("/prices/BTC", params={"limit": 2, "cursor": first.json()["next_cursor"]})
    assert by_cursor.json() == client.get(first.url.join(first.links["next"]["url"])).json()


def test_the_newest_price_alone(client, database):
    first, second = store_prices(database, price_row(price=0.1), price_row(minutes=1, price=1e-12))
    assert client.get("/prices/BTC/latest").json() == {"symbol": "BTC", **second}
    assert first != second


def test_the_newest_price_is_neither_a_bad_tick_nor_from_the_future(client_over, database):
    """The former is marked and the latter left out of the page."""
    client = client_over(database, clock=lambda: at(3))
    good, bad, _ = store_prices(database, price_row(), price_row(minutes=2, price=9e5), price_row(minutes=93))
    store_anomalies(database, anomaly("BTC", 2, "bad_tick", price_after=9e5))
    assert client.get("/prices/BTC/latest").json() == {"symbol": "BTC", **good}
    for media_type in FORMATS:
        answer = client.get("/prices/BTC", headers={"Accept": media_type})
        assert points_of(answer) == [{**bad, "quality": "bad_tick"}, good]


def test_a_symbol_without_prices_has_an_empty_page_and_no_latest(client):
    assert client.get("/prices/BTC").json() == {"symbol": "BTC", "points": [], "next_cursor": None}
    for media_type in FORMATS:
        assert points_of(client.get("/prices/BTC", headers={"Accept": media_type})) == []
    answer = client.get("/prices/BTC/latest")
    assert answer.status_code == 404
    assert answer.json()["type"].endswith(":no-prices")


@pytest.mark.parametrize("path", ["/prices/XYZ", "/prices/XYZ/latest", "/coverage/XYZ", "/anomalies/XYZ"])
def test_an_unsupported_symbol_is_told_the_supported_ones(client, path):
    answer = client.get(path)
    assert answer.status_code == 400
    assert answer.json()["type"].endswith(":unsupported-symbol")
    assert answer.json()["supported"] == ["BTC", "ETH", "SOL", "ADA", "DOT"]


@pytest.mark.parametrize("symbol", ["%00", "BTC%00", "%E2%80%AE", "%FF", "B" * 1000, "%27%3B--"])
def test_any_text_in_the_place_of_a_symbol_is_just_unsupported(client, symbol):
    assert client.get(f"/prices/{symbol}").status_code in (400, 404)
    assert client.get(f"/anomalies/{symbol}").status_code in (400, 404)


def test_rows_of_symbols_that_are_not_collected_here_are_not_shown(client, database):
    some_prices(database, "OLD")
    assert client.get("/prices/OLD").status_code == 400


def test_a_time_between_two_microseconds_is_the_later_one(client, database):
    """Else a price before `start`, or one not before `end`, would be given."""
    (point,) = store_prices(database, price_row())
    for fraction, found in ((".0000000", [point]), (".0000001", []), (".0000000000001", [])):
        assert client.get(f"/prices/BTC?start=2024-03-01T00:00:00{fraction}Z").json()["points"] == found
    assert client.get("/prices/BTC?end=2024-03-01T00:00:00.0000001Z").json()["points"] == [point]
    assert client.get("/prices/BTC?end=2024-03-01T00:00:00Z").json()["points"] == []
