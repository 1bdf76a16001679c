"""Stored prices of a symbol, newest first."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field, WithJsonSchema

from market_pipeline.api.http import cursor
from market_pipeline.api.http.responses import cached, next_page
from market_pipeline.api.http.negotiation import ARROW, CSV, JSON, format_for
from market_pipeline.api.http.problems import ApiProblem, problems
from market_pipeline.api.http.query import CursorText, Parameters, SymbolInPath, Whole, each_once, invalid
from market_pipeline.api.http.times import Moment, texts_of
from market_pipeline.api.large_responses import LARGE_FROM, ArrowReadsOf, LargeResponse, RoomForLarge
from market_pipeline.api.models.prices import PAGE_FORMATS, LatestPrice, PricePage
from market_pipeline.api.service import Service, ServiceOf
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.queries.price_pages import (
    COLUMNS,
    Point,
    PriceQuery,
    latest_points,
    newest_points,
    newest_table,
)

if TYPE_CHECKING:
    import pyarrow as pa


def as_json(symbol: str, points: Sequence[Point], next_cursor: str | None) -> bytes:
    """The document of a page. It is put together by hand, in a third of the time that `json` takes: nothing
    in it needs escaping, and a float's repr is what `json` writes."""
    rows = ",".join([
        f'{{"timestamp":"{timestamp}","price":{price!r},"source":"{source}","ingested_at":"{ingested_at}",'
        f'"quality":"{quality}"}}'
        for timestamp, price, source, ingested_at, quality in _written(points)
    ])
    return f'{{"symbol":"{symbol}","points":[{rows}],"next_cursor":{json.dumps(next_cursor)}}}'.encode()


def point_as_json(symbol: str, point: Point) -> bytes:
    """The document of one price."""
    (values,) = _written([point])
    return json.dumps({"symbol": symbol, **dict(zip(COLUMNS, values))}).encode()


def as_csv(points: Sequence[Point]) -> bytes:
    """A header and a line for each price (RFC 4180). No value needs quotes or looks like a formula: they are digits,
    times, and names of our own."""
    rows = [
        f"{timestamp},{price!r},{source},{ingested_at},{quality}\r\n"
        for timestamp, price, source, ingested_at, quality in _written(points)
    ]
    return "".join([",".join(COLUMNS), "\r\n", *rows]).encode()


def as_arrow(table: pa.Table) -> memoryview:
    """`table` as an Arrow IPC stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return memoryview(sink.getvalue())


def _written(points: Sequence[Point]) -> Iterator[tuple[str, float, str, str, str]]:
    """The points with their times in words."""
    times, prices, sources, learned, qualities = zip(*points) if points else ((), (), (), (), ())
    return zip(texts_of(times), prices, sources, texts_of(learned), qualities)


router = APIRouter(tags=["prices"], dependencies=[Depends(each_once)])

MOST_AS_TEXT = LARGE_FROM
MOST_AS_ARROW = 1_000_000

_UNSUPPORTED = (400, "Unsupported symbol: 'XYZ'. Supported are BTC, ETH.")
_INVALID = (422, "query.limit: Input should be greater than or equal to 1")

_Limit = Annotated[
    Whole,
    Field(ge=1, le=MOST_AS_ARROW),
    # What an Accept header changes cannot be said in a schema.
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST_AS_TEXT, "default": 100}),
]


class PageOfPrices(Parameters):
    """Which prices, and how many of them."""

    limit: _Limit = Field(
        100,
        description=f"At most so many rows: up to {MOST_AS_TEXT:,} as JSON or CSV, {MOST_AS_ARROW:,} as Arrow.",
    )
    start: Moment | None = Field(
        None,
        description="Prices from this time on: RFC 3339 with an offset or Z, or a day (its midnight UTC).",
        examples=["2026-11-01T00:00:00Z"],
    )
    end: Moment | None = Field(
        None, description="Prices before this time, written as `start`.", examples=["2026-11-23"]
    )
    cursor: CursorText | None = None

    def asked(self, symbol: str) -> PriceQuery:
        """The page in terms of the storage; one row more than that tells whether there is a next one."""
        end = self.end
        if self.cursor is not None:
            behind = cursor.decode_price(self.cursor)
            end = behind if end is None else min(end, behind)
        return PriceQuery(symbol, self.start, end, self.limit + 1)


@router.get(
    "/prices/{symbol}",
    summary="Prices, newest first",
    response_model=PricePage,
    responses=PAGE_FORMATS | problems(
        unsupported_symbol=_UNSUPPORTED,
        unknown_cursor=(404, "There is no page behind the cursor 'abc'."),
        not_acceptable=(406, f"Nothing here is 'text/html'; Accept may be {JSON}, {CSV}, {ARROW}."),
        invalid_request=_INVALID,
        too_many_at_once=(
            503, f"2 answers of more than {LARGE_FROM:,} rows are under way; ask again in a second."
        ),
    ),
)
async def prices(
    request: Request,
    symbol: SymbolInPath,
    page: Annotated[PageOfPrices, Query()],
    service: ServiceOf,
    room: RoomForLarge,
    arrow_reads: ArrowReadsOf,
) -> Response:
    """The stored prices of a symbol, newest first, as JSON, CSV or an Arrow stream by `Accept`.

    `quality` marks bad ticks. What is dated more than a minute ahead is left out until its time has come.

    A page ends with a cursor; prices that arrive meanwhile do not move the pages behind it. At most two
    answers of more than 10,000 rows are under way at once, others get 503 and come again.
    """
    asked = page.asked(service.symbol(symbol))
    media_type = format_for(request, (JSON, CSV, ARROW))
    if media_type == ARROW:
        return await arrow_reads.run(
            request, lambda service, left: _arrow(request, service, asked, room, left)
        )
    if page.limit > MOST_AS_TEXT:
        what = f"{media_type} has at most {MOST_AS_TEXT:,} rows; page on, or Accept {ARROW}"
        raise invalid("query.limit", what)
    return await anyio.to_thread.run_sync(_text, request, service, asked, media_type)


def _text(request: Request, service: Service, asked: PriceQuery, media_type: str) -> Response:
    limit = asked.rows - 1
    points = newest_points(service.database, asked, service.clock())
    next_cursor = cursor.encode_price(points[limit - 1][0]) if len(points) > limit else None
    points = points[:limit]
    if media_type == CSV:
        body, media_type = as_csv(points), f"{CSV}; charset=utf-8; header=present"
    else:
        body = as_json(asked.symbol, points, next_cursor)
    return cached(request, body, media_type, _headers(request, next_cursor))


@router.get(
    "/prices/{symbol}/latest",
    summary="The newest price",
    response_model=LatestPrice,
    responses=problems(
        unsupported_symbol=_UNSUPPORTED,
        no_prices=(404, "No price of BTC is stored yet; POST /collect-once/BTC collects one."),
        invalid_request=_INVALID,
    ),
)
def latest(request: Request, symbol: SymbolInPath, service: ServiceOf) -> Response:
    """The newest stored price of a symbol that is neither a bad tick nor from the future."""
    name = service.symbol(symbol)
    point = latest_points(service.database, [name], service.clock() + FUTURE_TOLERANCE).get(name)
    if point is None:
        detail = f"No price of {name} is stored yet; POST /collect-once/{name} collects one."
        raise ApiProblem(404, "no-prices", detail)
    return cached(request, point_as_json(name, point), JSON)


def _arrow(
    request: Request, service: Service, asked: PriceQuery, room: RoomForLarge, left: threading.Event
) -> Response:
    limit = asked.rows - 1
    if limit > LARGE_FROM:
        room.take()
    table = newest_table(service.database, asked, service.clock(), left)
    more = len(table) > limit
    next_cursor = cursor.encode_price(table["timestamp"][limit - 1].value) if more else None
    body = as_arrow(table.slice(0, limit))
    return cached(request, body, ARROW, _headers(request, next_cursor), LargeResponse)


def _headers(request: Request, next_cursor: str | None) -> dict[str, str]:
    return {"Vary": "Accept", **next_page(request, cursor=next_cursor)}
