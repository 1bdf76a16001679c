"""Candles of a symbol, newest first: pages as JSON, CSV or Arrow, computed from the stored quotes."""

import json
from itertools import chain
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field
from pydantic_core import to_json

from market_pipeline.api.http import cursor
from market_pipeline.api.http.negotiation import ARROW, CSV, JSON, format_for
from market_pipeline.api.http.problems import problems
from market_pipeline.api.http.query import CursorText, Parameters, SymbolInPath, Whole, each_once, not_before
from market_pipeline.api.http.responses import arrow_stream, cached, next_page
from market_pipeline.api.http.times import Moment
from market_pipeline.api.models.candles import CANDLE_FORMATS, CandlePage
from market_pipeline.api.service import UNSUPPORTED, ServiceOf
from market_pipeline.core.columns import Columns
from market_pipeline.prices.candles import CANDLE_COLUMNS, INTERVALS
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.queries.candles import read_candles

router = APIRouter(tags=["prices"], dependencies=[Depends(each_once)])

MAX_CANDLES = 10_000

# No value needs quotes in CSV (RFC 4180), or an escape in JSON.
_LINE = "%sZ,%s,%s,%s,%s,%s\r\n"
_OBJECT = '{"opened_at":"%sZ","open":%s,"high":%s,"low":%s,"close":%s,"quotes":%s}'


class PageOfCandles(Parameters):
    """Which candles, and how many of them."""

    interval: Literal["5m", "15m", "1h", "4h", "1d"] = Field(
        "1h", description="Length of an interval; the days are those of UTC."
    )
    limit: Whole = Field(
        100, ge=1, le=MAX_CANDLES, description="Maximum number of candles; follow the pages for more."
    )
    start: Moment | None = Field(
        None,
        description="Candles that open from this time on: RFC 3339 with an offset or Z, or a day (its midnight UTC).",
        examples=["2026-11-01T00:00:00Z"],
    )
    end: Annotated[Moment | None, not_before("start")] = Field(
        None, description="Candles that open before this time, written as `start`.", examples=["2026-11-23"]
    )
    cursor: CursorText | None = None


@router.get(
    "/candles/{symbol}",
    summary="Candles, newest first",
    response_model=CandlePage,
    responses=CANDLE_FORMATS | problems(
        unsupported_symbol=UNSUPPORTED,
        unknown_cursor=(404, "There is no page after the cursor 'abc'."),
        not_acceptable=(406, f"No answer has the format 'text/html'; Accept may be {JSON}, {CSV}, {ARROW}."),
        invalid_request=(422, "query.interval: Input should be '5m', '15m', '1h', '4h' or '1d'"),
    ),
)
def candles(
    request: Request, symbol: SymbolInPath, page: Annotated[PageOfCandles, Query()], service: ServiceOf
) -> Response:
    """List open, high, low, close and number of quotes of equal intervals, newest first, as `Accept` prefers.

    Computed from the stored quotes without bad ticks, in JSON, CSV or as an Arrow stream. An interval without a quote
    has no candle. The newest candle changes until its interval is over.

    A page ends with a cursor, and the next one begins before its last candle.
    """
    name, interval, now = service.symbol(symbol), INTERVALS[page.interval], service.clock()
    media_type = format_for(request, (JSON, CSV, ARROW))
    ends = [page.end, cursor.decode_time(page.cursor) if page.cursor else None, now + FUTURE_TOLERANCE]
    end = min(end for end in ends if end)
    # One more than the page has: whether it exists says if there is a next page.
    found = read_candles(service.database, name, interval, page.start, end, page.limit + 1, now)
    next_cursor = None
    if len(found) > page.limit:
        found = found.where(np.arange(len(found)) > 0)
        next_cursor = cursor.encode_time(int(found["opened_at"][0].astype(np.int64)))
    found = Columns({column: array[::-1] for column, array in found.arrays.items()})
    headers = {"Vary": "Accept", **next_page(request, cursor=next_cursor)}
    if media_type == ARROW:
        return cached(request, _arrow(found), ARROW, headers)
    if media_type == CSV:
        body = ",".join(CANDLE_COLUMNS) + "\r\n" + _written(found, _LINE)
        return cached(request, body.encode(), f"{CSV}; charset=utf-8; header=present", headers)
    head = f'"symbol":"{name}","interval":"{page.interval}"'
    body = f'{{{head},"candles":[{_written(found, _OBJECT, ",")}],"next_cursor":{json.dumps(next_cursor)}}}'
    return cached(request, body.encode(), JSON, headers)


def _written(found: Columns, row: str, between: str = "") -> str:
    """Write the candles, each as `row` says: many numbers at once, and all rows at once, in a quarter of the time."""
    if not len(found):
        return ""
    opened_at, *numbers = (found[column] for column in CANDLE_COLUMNS)
    # Intervals begin at whole seconds.
    texts = np.datetime_as_string(opened_at, unit="s").tolist()
    columns = [texts, *(to_json(array.tolist())[1:-1].decode().split(",") for array in numbers)]
    return between.join([row] * len(found)) % tuple(chain.from_iterable(zip(*columns, strict=True)))


def _arrow(found: Columns) -> memoryview:
    import pyarrow as pa

    arrays = {name: pa.array(np.ascontiguousarray(array)) for name, array in found.arrays.items()}
    return arrow_stream(pa.table({**arrays, "opened_at": arrays["opened_at"].cast(pa.timestamp("us", tz="UTC"))}))
