"""The endpoints, with the parameters that the pipeline sends: /ping, /simple/price, history, /coins/list, /key.

The window of a history decides its granularity: 5 minutes for one day back from now, hourly for up to 90 days, daily
beyond. A window that reaches now ends with the present quote as an extra point.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import lru_cache

from market_pipeline.core.clock import DAY
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.simulator import error_answers as errors
from market_pipeline.simulator.access import Plan, Usage
from market_pipeline.simulator.feed import FIVE_MINUTES, HOUR, Feed, name_key, uniform
from market_pipeline.simulator.messages import Answer, Document, Request

SIMPLE_PRICE = "/simple/price"
COINS_LIST = "/coins/list"

_RANGE = re.compile(r"/coins/([^/]+)/market_chart/range")
_SYMBOLS = {coin_id: symbol.lower() for symbol, coin_id in KNOWN_COINS.items()}
_HISTORY_DAYS = 365
_HOURLY_DAYS = 90
# A completed day appears in daily history 35 minutes after midnight.
_DAILY_DELAY = timedelta(minutes=35)
# The first of two copies of the present quote in 5-minute answers has a fraction of a second that the second
# lacks, so that the tail is out of order.
_FRACTION = timedelta(milliseconds=955)
# Later seconds than these are milliseconds by mistake (the year 2286).
_LATEST_SECONDS = 9_999_999_999


class BadRequest(Exception):
    """A request that cannot be answered; `answer` is the error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body.decode())
        self.answer = answer


def document_of(request: Request, feed: Feed, plan: Plan, usage: Usage) -> Document | list[Document]:
    """Return the document that answers `request`; BadRequest has the error answer otherwise."""
    if coin_id := range_coin(request):
        return _history(request, feed, coin_id, plan)
    match request.path.rstrip("/"):
        case "/ping":
            return {"gecko_says": "(V3) To the Moon!"}
        case "/simple/price":
            return _simple_price(request, feed)
        case "/coins/list":
            return [_listed(coin_id) for coin_id in sorted(feed.coin_ids)]
        case "/key":
            if plan != "pro":
                raise BadRequest(errors.by_status(401, 10005, request.time))
            return usage.as_document()
    raise BadRequest(errors.incorrect_path())


def range_coin(request: Request) -> str | None:
    """Return the coin whose history is requested; None for other endpoints."""
    found = _RANGE.fullmatch(request.path.rstrip("/"))
    return found[1] if found else None


def coins_of(request: Request) -> list[str]:
    """Return the coin ids that the request names, known or not."""
    if coin_id := range_coin(request):
        return [coin_id]
    return _named(request) if request.path.rstrip("/") == SIMPLE_PRICE else []


def _named(request: Request) -> list[str]:
    """Split `ids` as CoinGecko does: a space stays part of its name, which is then unknown."""
    return [name for name in request.query.get("ids", "").split(",") if name]


def _listed(coin_id: str) -> Document:
    return {"id": coin_id, "symbol": _SYMBOLS.get(coin_id, coin_id), "name": coin_id.replace("-", " ").title()}


def _simple_price(request: Request, feed: Feed) -> Document:
    """Return the newest prices, keyed by coin id in no useful order.

    Unknown coins and currencies are left out; US dollars are the only currency.
    """
    query = request.query
    _required(query, "ids")
    in_dollars = "usd" in _required(query, "vs_currencies").split(",")
    with_time = query.get("include_last_updated_at", "").lower() == "true"
    document: Document = {}
    for coin_id in sorted(set(_named(request)) & set(feed.coin_ids), key=name_key):
        if quote := feed.quote(coin_id, request.time):
            price, updated = _rounded(quote[0], query.get("precision")), int(quote[1].timestamp())
            document[coin_id] = ({"usd": price} if in_dollars else {}) | (
                {"last_updated_at": updated} if with_time else {}
            )
    return document


def _history(request: Request, feed: Feed, coin_id: str, plan: Plan) -> Document:
    """Return the history from `from` to `to` (UNIX seconds)."""
    if coin_id not in feed.coin_ids:
        raise BadRequest(errors.plain(404, "coin not found"))
    if _required(request.query, "vs_currency").lower() != "usd":
        raise BadRequest(errors.plain(400, "invalid vs_currency"))
    start, end = _moment(request.query, "from"), _moment(request.query, "to")
    if plan != "pro" and request.time - start > _HISTORY_DAYS * DAY:
        raise BadRequest(errors.by_status(401, 10012, request.time))
    prices, caps, volumes = [], [], []
    for at, price in _points(feed, coin_id, start, end, request.time):
        milliseconds = round(at.timestamp() * 1000)
        cap = price * _supply(coin_id)
        # The volume of a day is a few percent of the market cap, by the hour.
        share = 0.01 + 0.04 * uniform(f"volume:{coin_id}", int(at.timestamp() // 3600))
        prices.append([milliseconds, _rounded(price, request.query.get("precision", "full"))])
        caps.append([milliseconds, cap])
        volumes.append([milliseconds, cap * share])
    return {"prices": prices, "market_caps": caps, "total_volumes": volumes}


def _points(
    feed: Feed, coin_id: str, start: datetime, end: datetime, now: datetime
) -> list[tuple[datetime, float]]:
    quote = feed.quote(coin_id, now)
    if quote is None or start >= end:
        return []
    step = _granularity(start, end, now)
    price, updated = quote
    latest = now - _DAILY_DELAY if step == DAY else updated
    history = [point for point in feed.points(coin_id, start, min(end, latest), step) if point[0] < updated]
    if not start <= updated <= end:
        return history
    if step == FIVE_MINUTES:
        history.append((min(updated + _FRACTION, now), price))
    return [*history, (updated, price)]


def _granularity(start: datetime, end: datetime, now: datetime) -> timedelta:
    """Return the distance of the points of a window: 5-minute points exist only for the day before `now`."""
    if end - start > _HOURLY_DAYS * DAY:
        return DAY
    return FIVE_MINUTES if end - start <= DAY and start >= now - DAY else HOUR


@lru_cache(maxsize=1024)
def _supply(coin_id: str) -> int:
    return round(10 ** (7 + 3 * uniform(f"supply:{coin_id}", 0)))


def _required(query: Mapping[str, str], name: str) -> str:
    if not query.get(name):
        raise BadRequest(errors.plain(422, f"Missing parameter {name}"))
    return query[name]


def _moment(query: Mapping[str, str], name: str) -> datetime:
    text = _required(query, name)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _LATEST_SECONDS:
        raise BadRequest(errors.plain(400, "invalid date"))
    return datetime.fromtimestamp(seconds, timezone.utc)


def _rounded(price: float, precision: str | None) -> float | int:
    """Round to so many decimals; without `precision` to dollars, cents or four significant digits, by size."""
    if precision == "full":
        return price
    if precision is None:
        if price >= 10_000:
            return round(price)
        return round(price, 2) if price >= 1 else float(f"{price:.4g}")
    if precision.isdecimal() and int(precision) <= 18:
        return round(price, int(precision)) if precision != "0" else round(price)
    raise BadRequest(errors.plain(422, "invalid precision"))
