"""Stored prices of a symbol, newest first."""

import threading
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field, WithJsonSchema

from market_pipeline.api import cursor, price_formats
from market_pipeline.api.accept import ARROW, CSV, JSON, format_for
from market_pipeline.api.caching import cached, next_page
from market_pipeline.api.large import LARGE_FROM, ArrowReadsOf, LargeResponse, RoomForLarge
from market_pipeline.api.price_documents import PAGE_FORMATS, LatestPrice, PricePage
from market_pipeline.api.problems import ApiProblem, problems
from market_pipeline.api.query import CursorText, Parameters, SymbolInPath, Whole, each_once, invalid
from market_pipeline.api.service import Service, ServiceOf
from market_pipeline.api.times import Moment
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.newest import Asked, latest_points, newest_points, newest_table

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

    def asked(self, symbol: str) -> Asked:
        """The page in terms of the storage; one row more than that tells whether there is a next one."""
        end = self.end
        if self.cursor is not None:
            behind = cursor.before_price(self.cursor)
            end = behind if end is None else min(end, behind)
        return Asked(symbol, self.start, end, self.limit + 1)


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


def _text(request: Request, service: Service, asked: Asked, media_type: str) -> Response:
    limit = asked.rows - 1
    points = newest_points(service.database, asked, service.clock())
    next_cursor = cursor.of_price(points[limit - 1][0]) if len(points) > limit else None
    points = points[:limit]
    if media_type == CSV:
        body, media_type = price_formats.as_csv(points), f"{CSV}; charset=utf-8; header=present"
    else:
        body = price_formats.as_json(asked.symbol, points, next_cursor)
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
    return cached(request, price_formats.point_as_json(name, point), JSON)


def _arrow(
    request: Request, service: Service, asked: Asked, room: RoomForLarge, left: threading.Event
) -> Response:
    limit = asked.rows - 1
    if limit > LARGE_FROM:
        room.take()
    table = newest_table(service.database, asked, service.clock(), left)
    more = len(table) > limit
    next_cursor = cursor.of_price(table["timestamp"][limit - 1].value) if more else None
    body = price_formats.as_arrow(table.slice(0, limit))
    return cached(request, body, ARROW, _headers(request, next_cursor), LargeResponse)


def _headers(request: Request, next_cursor: str | None) -> dict[str, str]:
    return {"Vary": "Accept", **next_page(request, cursor=next_cursor)}
