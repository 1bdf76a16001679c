"""Rows for the tests of the reading endpoints as answers show them, and walking through all pages of an answer."""

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
from starlette.testclient import TestClient

from market_pipeline.core.clock import iso
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline_tests.api.serving import Response
from market_pipeline_tests.builders import price_row, store

ARROW = "application/vnd.apache.arrow.stream"
FORMATS = ("application/json", "text/csv", ARROW)

Point = dict[str, Any]


def store_prices(database: Database, *rows: Mapping[str, Any]) -> list[Point]:
    """Store rows as `price_row` makes them; gives them as answers show them, in their order."""
    return [
        {
            "timestamp": iso(row["timestamp"]), "price": row["price"], "source": row["source"],
            "ingested_at": iso(row["ingested_at"]), "quality": "ok",
        }
        for row in store(database, tables.raw_prices, *rows)
    ]


def some_prices(database: Database, symbol: str = "BTC", count: int = 5, first: int = 0) -> list[Point]:
    """Store `count` prices a minute apart; gives them as answers show them, newest first."""
    rows = [price_row(symbol, minutes, 100.0 + minutes / 7) for minutes in range(first, first + count)]
    return store_prices(database, *rows)[::-1]


def points_of(answer: Response) -> list[Point]:
    """The rows of an answer in any of the formats, in one form."""
    kind = answer.headers["content-type"].partition(";")[0]
    if kind == "application/json":
        points: list[Point] = answer.json()["points"]
        return points
    if kind == "text/csv":
        header, *lines = answer.text.removesuffix("\r\n").split("\r\n")
        rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
        return [{**row, "price": float(row["price"])} for row in rows]
    assert kind == ARROW
    table = pa.ipc.open_stream(answer.content).read_all()
    return [
        {**row, "timestamp": iso(row["timestamp"]), "ingested_at": iso(row["ingested_at"])} for row in table.to_pylist()
    ]


def walk(client: TestClient, path: str, between: Callable[[], Any] = lambda: None, **options: Any) -> list[Response]:
    """The answers of all pages, by the Link of each; `between` is called after every page."""
    answers = [client.get(path, **options)]
    while "next" in (last := answers[-1]).links:
        assert last.status_code == 200, last.text
        between()
        answers.append(client.get(last.url.join(last.links["next"]["url"]), **options))
    return answers


def utc(*parts: int) -> datetime:
    """An aware UTC time."""
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc, arg-type]  # parts are no time zone
