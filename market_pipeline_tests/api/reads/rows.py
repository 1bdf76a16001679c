"""Rows for the tests of the reading endpoints, and walking through all pages of an answer."""

import itertools
from datetime import datetime, timezone

import pyarrow as pa

from market_pipeline.core.clock import iso
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import START as START
from market_pipeline_tests.builders import anomaly_row, price_row
from market_pipeline_tests.builders import at as at

ARROW = "application/vnd.apache.arrow.stream"

_numbers = itertools.count()


def store_prices(database, *rows):
    """Store rows as `price_row` makes them; gives them as the API tells them, in their order."""
    upsert(database, tables.raw_prices, columns_of(tables.raw_prices, rows))
    return [told(row) for row in rows]


def some_prices(database, symbol="BTC", count=5, first=0):
    """Store `count` prices a minute apart; gives them as the API tells them, newest first."""
    rows = [price_row(symbol, minutes, 100.0 + minutes / 7) for minutes in range(first, first + count)]
    return store_prices(database, *rows)[::-1]


def told(row):
    """A stored price as a point in an answer."""
    return {
        "timestamp": iso(row["timestamp"]), "price": row["price"], "source": row["source"],
        "ingested_at": iso(row["ingested_at"]), "quality": "ok",
    }


def anomaly(symbol="BTC", minutes=0, kind="jump", **changes):
    """A row of price_anomalies with an id as the detectors make them."""
    number = f"{next(_numbers):032x}"
    return {**anomaly_row(symbol, minutes, kind), "id": number, "episode_id": number, **changes}


def store_anomalies(database, *rows):
    """Store rows of `anomaly`; gives them."""
    upsert(database, tables.price_anomalies, columns_of(tables.price_anomalies, rows))
    return list(rows)


def points_of(answer):
    """The rows of an answer in any of the formats, in one form."""
    kind = answer.headers["content-type"].partition(";")[0]
    if kind == "application/json":
        return answer.json()["points"]
    if kind == "text/csv":
        header, *lines = answer.text.removesuffix("\r\n").split("\r\n")
        rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
        return [{**row, "price": float(row["price"])} for row in rows]
    assert kind == ARROW
    rows = pa.ipc.open_stream(answer.content).read_all().to_pylist()
    return [
        {**row, "timestamp": iso(row["timestamp"]), "ingested_at": iso(row["ingested_at"])} for row in rows
    ]


def walk(client, path, between=lambda: None, **asked):
    """The answers of all pages, by the Link of each; `between` is called after every page."""
    answers = [client.get(path, **asked)]
    while "next" in (last := answers[-1]).links:
        assert last.status_code == 200, last.text
        between()
        answers.append(client.get(last.url.join(last.links["next"]["url"]), **asked))
    return answers


def utc(*parts):
    return datetime(*parts, tzinfo=timezone.utc)
