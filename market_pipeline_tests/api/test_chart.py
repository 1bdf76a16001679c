"""What the chart of a symbol's page is given."""

from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from market_pipeline.core.clock import iso
from market_pipeline.storage.engine import Database
from market_pipeline_tests.api.serving import kind_of, store_anomaly, store_day, store_quotes

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
