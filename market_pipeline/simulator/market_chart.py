"""GET /coins/{id}/market_chart and /coins/{id}/market_chart/range: the price history of a coin.

The window decides the granularity: 5 minutes for one day back from now, hourly for up to 90 days,
daily beyond. A window that reaches now ends with the present quote as an extra point.
"""

from datetime import datetime, timedelta

from market_pipeline.core.clock import DAY
from market_pipeline.simulator import coins, errors
from market_pipeline.simulator.access import Plan
from market_pipeline.simulator.feed import FIVE_MINUTES, HOUR, Feed
from market_pipeline.simulator.messages import Document, Request
from market_pipeline.simulator.parameters import BadParameter, moment, required, rounded

_HISTORY_DAYS = 365
_HOURLY_DAYS = 90
# Further back than any price.
_MOST_DAYS = 10_000
# A completed day appears in daily history 35 minutes after midnight.
_DAILY_DELAY = timedelta(minutes=35)
# The two copies of the present quote in 5-minute answers: the first carries a fraction of a second
# that the second lacks, so that the tail is out of order.
_FRACTION = timedelta(milliseconds=955)

Point = tuple[datetime, float]


def chart_by_days(request: Request, feed: Feed, coin_id: str, plan: Plan) -> Document:
    """The last `days` days (a whole number, or `max` where the plan allows it) up to now."""
    _check_coin_and_currency(request, feed, coin_id)
    text = required(request.query, "days")
    if text != "max" and not (text.isdecimal() and 0 < len(text.lstrip("0")) < 6):
        raise BadParameter(errors.plain(422, "invalid days"))
    days = _MOST_DAYS if text == "max" else min(int(text), _MOST_DAYS)
    if plan != "pro" and days > _HISTORY_DAYS:
        raise BadParameter(errors.by_status(401, 10012, request.time))
    return _document(request, feed, coin_id, request.time - days * DAY, request.time, plan)


def chart_by_range(request: Request, feed: Feed, coin_id: str, plan: Plan) -> Document:
    """From `from` to `to`, UNIX seconds (on the pro host ISO dates too)."""
    _check_coin_and_currency(request, feed, coin_id)
    start, end = (moment(request.query, name, iso_dates=plan == "pro") for name in ("from", "to"))
    if plan != "pro" and request.time - start > _HISTORY_DAYS * DAY:
        raise BadParameter(errors.by_status(401, 10012, request.time))
    return _document(request, feed, coin_id, start, end, plan)


def granularity(start: datetime, end: datetime, now: datetime) -> timedelta:
    """The distance of the points of a window: 5-minute points exist only for the day before `now`."""
    if end - start > _HOURLY_DAYS * DAY:
        return DAY
    return FIVE_MINUTES if end - start <= DAY and start >= now - DAY else HOUR


def _check_coin_and_currency(request: Request, feed: Feed, coin_id: str) -> None:
    if coin_id not in feed.coin_ids:
        raise BadParameter(errors.coin_not_found())
    if required(request.query, "vs_currency").lower() != "usd":
        raise BadParameter(errors.plain(400, "invalid vs_currency"))


def _document(
    request: Request, feed: Feed, coin_id: str, start: datetime, end: datetime, plan: Plan
) -> Document:
    step = _asked_step(request, plan) or granularity(start, end, request.time)
    precision = request.query.get("precision", "full")
    prices, caps, volumes = [], [], []
    for at, price in _series(feed, coin_id, start, end, step, request.time):
        milliseconds = round(at.timestamp() * 1000)
        prices.append([milliseconds, rounded(price, precision)])
        caps.append([milliseconds, coins.market_cap(coin_id, price)])
        volumes.append([milliseconds, coins.traded_volume(coin_id, price, at)])
    return {"prices": prices, "market_caps": caps, "total_volumes": volumes}


def _asked_step(request: Request, plan: Plan) -> timedelta | None:
    """The step that `interval` asks for; the public range endpoint has no such parameter and ignores it."""
    interval = request.query.get("interval")
    if interval is None or (plan != "pro" and request.path.endswith("/range")):
        return None
    if interval == "5m":
        raise BadParameter(errors.by_status(401, 10005, request.time))
    steps = {"hourly": HOUR, "daily": DAY}
    if interval not in steps:
        raise BadParameter(errors.plain(422, "invalid interval"))
    return steps[interval]


def _series(
    feed: Feed, coin_id: str, start: datetime, end: datetime, step: timedelta, now: datetime
) -> list[Point]:
    quote = feed.quote(coin_id, now)
    if quote is None or start >= end:
        return []
    price, updated = quote
    latest = now - _DAILY_DELAY if step == DAY else updated
    history = [point for point in feed.points(coin_id, start, min(end, latest), step) if point[0] < updated]
    if not start <= updated <= end:
        return history
    if step == FIVE_MINUTES:
        history.append((min(updated + _FRACTION, now), price))
    return [*history, (updated, price)]
