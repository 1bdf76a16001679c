"""What the chart of a symbol's page is given."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from market_pipeline.core.clock import iso, utc_now
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.api.serving import both_databases, kind_of, store_anomaly, store_day, store_quotes
from market_pipeline_tests.builders import price_row, store

HOUR = timedelta(hours=1)


def chart(client: TestClient, symbol: str = "BTC", **span: str) -> dict[str, Any]:
    answer = client.get(f"/symbols/{symbol}/chart.json", params=span)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_it_has_candles_in_their_band_broken_at_silences(client: TestClient, database: Database) -> None:
    newest = store_day(database, "BTC", 110.0, 100.0, silent=(10 * HOUR, 6 * HOUR))
    found = chart(client, "btc", start=iso(newest - 20 * HOUR))
    candles = found["candles"]
    assert (found["symbol"], found["coin"], found["interval_seconds"]) == ("BTC", "simulated:bitcoin", 60.0)
    assert {len(column) for column in candles.values()} == {20 * 12 - 4 * 12 + 2}
    assert candles["close"][-2:] == [100.0, 110.0] and candles["quotes"][-1] == 1
    lone = {name for name in ("open", "high", "low") if candles[name] != candles["close"]}
    assert not lone, "candles of one quote each"
    [[begin, end]] = found["silences"]
    assert (begin[:16], end[:16]) == (iso(newest - 10 * HOUR)[:16], iso(newest - 6 * HOUR)[:16])
    first, after = found["stretches"]
    assert first == 0 and candles["deviation"][after] is None, "a band over a silence means nothing"
    assert candles["expected"][-1] == 100.0 and 0 < candles["deviation"][-1] < 5
    assert chart(client, start=iso(newest - 400 * HOUR))["start"] == found["first"], "nothing is older"


def test_its_alarms_are_those_of_the_symbol_and_moves_of_the_market_with_it(
    client: TestClient, database: Database
) -> None:
    newest = store_day(database, "BTC", 110.0, 100.0)
    own = store_anomaly(database, "BTC", newest - HOUR, headline="BTC rose.", severity="critical", importance=2.0)
    market = store_anomaly(database, "ETH", newest - 2 * HOUR, "market_move", members="ETH,BTC", headline="All moved.")
    store_anomaly(database, "ADA", newest - 2 * HOUR, "market_move", members="ADA,SOL,WBTC")
    store_anomaly(database, "ETH", newest - HOUR)
    store_anomaly(database, "BTC", newest - HOUR, "large_move", event_id=own)
    store_anomaly(database, "BTC", newest - 30 * HOUR)
    alarms = chart(client, start=iso(newest - 5 * HOUR))["alarms"]
    assert [(alarm["id"], alarm["headline"]) for alarm in alarms] == [(market, "All moved."), (own, "BTC rose.")]
    assert alarms[-1]["severity"] == "critical" and alarms[-1]["timestamp"] == iso(newest - HOUR)


@pytest.mark.parametrize("order", ["time", "importance"])
def test_the_list_has_moves_of_the_market_on_request(client: TestClient, database: Database, order: str) -> None:
    newest = store_day(database, "BTC", 110.0)
    own = store_anomaly(database, "BTC", newest - HOUR, importance=1.0)
    market = store_anomaly(database, "ETH", newest - 2 * HOUR, "market_move", members="ETH,BTC", importance=0.5)
    store_anomaly(database, "ADA", newest - 2 * HOUR, "market_move", members="ADA,WBTC")
    with_them = client.get(f"/anomalies/BTC?market_moves=true&sort={order}").json()["anomalies"]
    without = client.get(f"/anomalies/BTC?sort={order}").json()["anomalies"]
    assert [[row["id"] for row in rows] for rows in (with_them, without)] == [[own, market], [own]]


def test_its_edges_are_the_first_and_the_last_price_of_the_time(client: TestClient, database: Database) -> None:
    """Also where a candle of hours reaches over an edge, and where there is more around the time for moving."""
    newest = utc_now().replace(microsecond=0) - HOUR
    # Every 20 minutes for some hours, else once a day: in candles of 2 hours.
    back = [*range(140), *(days + hours for days in (40, 100) for hours in np.arange(1, 20) / 72)]
    times = [newest - 24 * HOUR * days for days in sorted(back, reverse=True)]
    dense = times.index(newest - 100 * 24 * HOUR) - 10, times.index(newest - 40 * 24 * HOUR) - 10
    rows = [price_row(timestamp=at, price=float(n + 1), coin_id=database.coin_id("BTC")) for n, at in enumerate(times)]
    store(database, raw_prices, *rows)
    for first, last, around in ((dense[0], -1, {}), (*dense, {"around": "true"}), (dense[0], dense[0], {})):
        start, end = times[first] - HOUR / 6, times[last] + HOUR / 6
        found = chart(client, start=iso(start), end=iso(end), **around)
        assert [edge["price"] for edge in found["edges"]] == [rows[first]["price"], rows[last]["price"]]
        assert [edge["timestamp"] for edge in found["edges"]] == [iso(times[first]), iso(times[last])]
        beside = (end - start) / 2 if around else 0 * HOUR
        assert (found["start"], found["end"]) == (iso(start - beside), iso(end + beside))
    assert chart(client, start=iso(times[dense[0]] + HOUR / 9), end=iso(times[dense[0]] + HOUR / 6))["edges"] == []


def test_a_silence_that_goes_on_begins_with_the_last_price_in_every_range(
    client: TestClient, database: Database
) -> None:
    newest = store_day(database, "BTC", 1.0, newest=23 * HOUR)
    daily = [newest - 24 * HOUR * back for back in range(2, 300)]
    store_quotes(database, "BTC", [*daily[::-1], newest], 1.0)
    for days in (1, 7, 365):
        found = chart(client, start=iso(utc_now() - days * 24 * HOUR))
        assert found["silences"][-1] == [iso(newest), found["end"]], days
        assert found["candles"]["last_at"][-1] == iso(newest)
    found = chart(client, start=iso(newest), end=iso(newest + 9 * HOUR))
    assert (len(found["candles"]["close"]), found["silences"]) == (1, [[iso(newest), found["end"]]]), "one price"
    recent = chart(client, start=iso(newest - HOUR), end=iso(newest + HOUR / 6))
    assert recent["silences"] == [], "a late price is none"


@both_databases
def test_alarms_are_marked_at_the_price_of_their_time(client: TestClient, database: Database) -> None:
    """Whatever the candles are; they are stored with the price of their peak."""
    newest = store_day(database, "BTC", 110.0, 100.0)
    before = [newest - 24 * HOUR * days for days in range(120, 2, -1)]
    store_quotes(database, "BTC", [*before, newest], 110.0, 95.0)
    for symbol, at in (("BTC", newest - HOUR), ("ETH", before[50] + HOUR), ("ETH", newest - HOUR / 12 + HOUR / 60)):
        store_anomaly(database, symbol, at, "market_move", members="BTC,ETH,SOL", price_after=90.0)
    store_anomaly(database, "BTC", newest, "jump", price_after=120.0)
    store_anomaly(database, "BTC", before[0] + 24 * HOUR, "jump", price_after=120.0)
    alarms = chart(client)["alarms"]
    assert [alarm["price"] for alarm in alarms] == [95.0, 95.0, 100.0, 100.0, 110.0]
    assert alarms[-1]["kind"] == "jump"


def test_a_symbol_without_prices_has_an_empty_chart(client: TestClient) -> None:
    found = chart(client)
    assert (found["candles"]["close"], found["alarms"], found["first"]) == ([], [], None)
    for edge in ("start", "end"):
        assert chart(client, **{edge: "0001-01-01"})["candles"]["close"] == []


def test_a_time_without_prices_is_one_silence(client: TestClient, database: Database) -> None:
    newest = store_quotes(database, "BTC", [store_day(database, "BTC", 1.0) - 900 * HOUR], 1.0)
    found = chart(client, start=iso(newest + HOUR), end=iso(newest + 5 * HOUR))
    assert found["candles"]["close"] == [] and found["silences"] == [[found["start"], found["end"]]]
    before = chart(client, start=iso(newest - 9 * HOUR), end=iso(newest - HOUR))
    assert before["candles"]["close"] == []


def test_what_is_not_collected_or_no_time_is_refused(client: TestClient) -> None:
    assert kind_of(client.get("/symbols/XYZ/chart.json")) == "unsupported-symbol"
    assert kind_of(client.get("/symbols/BTC/chart.json?start=yesterday")) == "invalid-request"
    assert kind_of(client.get("/symbols/BTC/chart.json?start=2026-01-01&start=2026-01-02")) == "invalid-request"
