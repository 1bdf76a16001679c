"""Which endpoint answers which path."""

import re

from market_pipeline.simulator import coins, errors
from market_pipeline.simulator.access import Plan
from market_pipeline.simulator.feed import Feed
from market_pipeline.simulator.market_chart import chart_by_days, chart_by_range
from market_pipeline.simulator.messages import Document, Request
from market_pipeline.simulator.parameters import BadParameter, flag
from market_pipeline.simulator.simple_price import named_coins, simple_price
from market_pipeline.simulator.usage import Usage

_CHART = re.compile(r"/coins/(?P<coin>[^/]+)/market_chart(?P<range>/range)?")


def document_of(request: Request, feed: Feed, plan: Plan, usage: Usage) -> Document | list[Document]:
    """The document that answers `request`; `BadParameter` with the error answer otherwise."""
    path = request.path.rstrip("/")
    if chart := _CHART.fullmatch(path):
        endpoint = chart_by_range if chart["range"] else chart_by_days
        return endpoint(request, feed, chart["coin"], plan)
    match path:
        case "/ping":
            return {"gecko_says": "(V3) To the Moon!"}
        case "/simple/price":
            return simple_price(request, feed)
        case "/coins/list":
            return _coins_list(request, feed)
        case "/key":
            return _key(request, plan, usage)
    raise BadParameter(errors.incorrect_path())


def coins_of(request: Request, feed: Feed) -> list[str]:
    """The coin ids that the request names; none for endpoints that are about no coin."""
    if chart := _CHART.fullmatch(request.path.rstrip("/")):
        return [chart["coin"]]
    return named_coins(request, feed) if is_simple_price(request) else []


def is_listing(request: Request) -> bool:
    """Whether the request is for the list of coins."""
    return request.path.rstrip("/") == "/coins/list"


def is_simple_price(request: Request) -> bool:
    """Whether the request is for the newest prices."""
    return request.path.rstrip("/") == "/simple/price"


def is_chart(request: Request) -> bool:
    """Whether the request is for history."""
    return _CHART.fullmatch(request.path.rstrip("/")) is not None


def _coins_list(request: Request, feed: Feed) -> list[Document]:
    platforms: Document = {"platforms": {}} if flag(request.query, "include_platform") else {}
    if request.query.get("status") == "inactive":
        return []
    return [
        {"id": coin_id, "symbol": coins.symbol_of(coin_id), "name": coins.name_of(coin_id), **platforms}
        for coin_id in sorted(feed.coin_ids)
    ]


def _key(request: Request, plan: Plan, usage: Usage) -> Document:
    if plan != "pro":
        raise BadParameter(errors.by_status(401, 10005, request.time))
    return usage.as_document()
