"""Candles newest first: limits, times, pages; as JSON, CSV and Arrow the same rows, to the last digit."""

import csv
import io
import json
from typing import Any

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from market_pipeline.core.clock import iso
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.api.reads.rows import ARROW, FORMATS, walk
from market_pipeline_tests.api.serving import Response, both_databases, kind_of
from market_pipeline_tests.builders import at, price_row, store


def candles_of(answer: Response) -> list[dict[str, Any]]:
    """The candles of an answer in any of the formats, in the form of JSON."""
    kind = answer.headers["content-type"].partition(";")[0]
    if kind == "application/json":
        assert answer.text == json.dumps(answer.json(), separators=(",", ":")), "written by hand as libraries do"
        found: list[dict[str, Any]] = answer.json()["candles"]
        return found
    if kind == "text/csv":
        opened_at, *numbers = "opened_at", "open", "high", "low", "close", "quotes"
        rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        return [{opened_at: row[opened_at], **{name: json.loads(row[name]) for name in numbers}} for row in rows]
    table = pa.ipc.open_stream(answer.content).read_all()
    types = [pa.timestamp("us", tz="UTC"), *[pa.float64()] * 4, pa.int64()]
    assert table.schema.types == types
    return [{**row, "opened_at": iso(row["opened_at"])} for row in table.to_pylist()]


@both_databases
def test_pages_give_every_candle_once_in_every_format(database: Database, client: TestClient) -> None:
    """The second interval has no quote and no candle; what arrives later shifts no page."""
    quotes = {0: 100 / 7, 30: 5e-324, 59: 9.9e299, 120: 1.0, 121: 2.0, 180: 3.0, 300: 4.0}
    store(database, raw_prices, *(price_row(minutes=minute, price=price) for minute, price in quotes.items()))
    hour = dict.fromkeys(("open", "high", "low", "close"))
    expected = [
        {"opened_at": iso(at(300)), **dict.fromkeys(hour, 4.0), "quotes": 1},
        {"opened_at": iso(at(180)), **dict.fromkeys(hour, 3.0), "quotes": 1},
        {"opened_at": iso(at(120)), "open": 1.0, "high": 2.0, "low": 1.0, "close": 2.0, "quotes": 2},
        {"opened_at": iso(at(0)), "open": 100 / 7, "high": 9.9e299, "low": 5e-324, "close": 9.9e299, "quotes": 3},
    ]
    number = 400
    for media_type in FORMATS:
        for limit in (1, 3, 4):
            pages = walk(
                client, f"/candles/btc?limit={limit}&end=2024-03-01T06:00:00Z",
                lambda: store(database, raw_prices, price_row(minutes=number)), headers={"Accept": media_type},
            )
            assert [one for page in pages for one in candles_of(page)] == expected
            assert len(pages) == -(-4 // limit)
    answer = client.get("/candles/BTC?start=2024-03-01T01:30:00Z&end=2024-03-01T03:00:00Z").json()
    assert answer == {"symbol": "BTC", "interval": "1h", "candles": expected[2:3], "next_cursor": None}
    days = client.get("/candles/BTC?interval=1d").json()["candles"]
    assert [(day["opened_at"], day["quotes"]) for day in days] == [(iso(at(0)), 8)]


@pytest.mark.parametrize(("query", "status"), [
    ("limit=10000&interval=5m", 200), ("limit=10001", 422), ("interval=2h", 422), ("interval=", 422),
    ("start=9999-12-31T23:59:59.999999Z", 200), ("end=0001-01-01", 200), ("cursor=abc", 404),
])
def test_what_a_request_may_ask(client: TestClient, query: str, status: int) -> None:
    answer = client.get(f"/candles/BTC?{query}")
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["candles"] == []
    assert kind_of(client.get("/candles/XYZ")) == "unsupported-symbol"
    assert client.get("/candles/BTC", headers={"Accept": "image/png"}).status_code == 406
    assert candles_of(client.get("/candles/BTC", headers={"Accept": ARROW})) == []
