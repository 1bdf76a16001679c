"""Stored prices as JSON, CSV and Arrow: the same rows, and the same numbers to the last digit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from market_pipeline.api.times import text_of
from market_pipeline.storage.newest import COLUMNS, Point

if TYPE_CHECKING:
    import pyarrow as pa


def as_json(symbol: str, points: Sequence[Point], next_cursor: str | None) -> bytes:
    """The document of a page."""
    document = {"symbol": symbol, "points": [_named(point) for point in points], "next_cursor": next_cursor}
    return json.dumps(document, separators=(",", ":")).encode()


def point_as_json(symbol: str, point: Point) -> bytes:
    """The document of one price."""
    return json.dumps({"symbol": symbol, **_named(point)}, separators=(",", ":")).encode()


def as_csv(points: Sequence[Point]) -> bytes:
    """A header and a line for each price (RFC 4180). No value ever needs quotes, or is a formula to anybody:
    they are digits, times, and the names of our sources."""
    lines = [",".join(COLUMNS)]
    lines += [
        f"{text_of(timestamp)},{price!r},{source},{text_of(ingested_at)}"
        for timestamp, price, source, ingested_at in points
    ]
    return "\r\n".join([*lines, ""]).encode()


def as_arrow(table: pa.Table) -> memoryview:
    """`table` as an Arrow IPC stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return memoryview(sink.getvalue())


def _named(point: Point) -> dict[str, object]:
    timestamp, price, source, ingested_at = point
    return {
        "timestamp": text_of(timestamp), "price": price, "source": source, "ingested_at": text_of(ingested_at),
    }
