"""What the client hands out: points exactly as the server sent them, still unjudged.

JSON documents end here. A point keeps its values raw (`object`), because whether they are prices
and times is for `prices.validate` to say.
"""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from market_pipeline.coingecko.errors import CoinGeckoError

PAYLOAD_LIMIT = 2_000


@dataclass(frozen=True)
class RawPoint:
    """One price of one coin as the server sent it.

    `price` is in US dollars and `timestamp` in UNIX seconds if the server kept to its word; both are
    None where the server sent none. `payload` is the part of the answer they were in, as bounded
    ASCII JSON text.
    """

    coin_id: str
    price: object
    timestamp: object
    payload: str


@dataclass(frozen=True)
class PriceAnswer:
    """The current prices: one point for each coin of an answered request, in the order asked for, the ids
    that were in an answer although nobody asked for them, and the errors of coins without an answer."""

    points: tuple[RawPoint, ...]
    unasked: tuple[str, ...]
    failures: Mapping[str, CoinGeckoError] = field(default_factory=dict)


@dataclass(frozen=True)
class ListedCoin:
    """A coin as CoinGecko lists it; `symbol` is its ticker in any case, which others may share."""

    coin_id: str
    symbol: str
    name: str


def payload_text(part: Any) -> str:
    """`part` of an answer as ASCII JSON text of at most 2,000 characters."""
    try:
        text = json.dumps(part)
    except (RecursionError, ValueError):
        text = ascii(reprlib.repr(part))
    return text if len(text) <= PAYLOAD_LIMIT else text[: PAYLOAD_LIMIT - 3] + "..."


def price_points(document: dict[str, Any], coin_ids: tuple[str, ...]) -> PriceAnswer:
    """The points in an answer of /simple/price to a request for `coin_ids`.

    A coin that is not in the answer becomes a point without price whose payload says so.
    """
    unasked = tuple(_plain(coin_id) for coin_id in document if coin_id not in coin_ids)
    missing = {"not_in_answer": True, "answered_instead": list(unasked[:20])}
    points = []
    for coin_id in coin_ids:
        entry = document.get(coin_id)
        values = entry if isinstance(entry, dict) else {}
        payload = payload_text({coin_id: entry if coin_id in document else missing})
        points.append(RawPoint(coin_id, values.get("usd"), values.get("last_updated_at"), payload))
    return PriceAnswer(tuple(points), unasked)


def chart_points(prices: list[Any], coin_id: str) -> tuple[RawPoint, ...]:
    """The points in the `prices` of an answer of /market_chart, whose times are milliseconds."""
    return tuple(_chart_point(pair, coin_id) for pair in prices)


def listed_coins(document: list[Any]) -> tuple[ListedCoin, ...]:
    """The coins in an answer of /coins/list; an entry without an id names no coin and is left out."""
    entries = [entry for entry in document if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    return tuple(
        ListedCoin(entry["id"], str(entry.get("symbol") or ""), str(entry.get("name") or ""))
        for entry in entries
    )


def _chart_point(pair: Any, coin_id: str) -> RawPoint:
    if not isinstance(pair, list) or len(pair) != 2:
        return RawPoint(coin_id, None, None, payload_text(pair))
    return RawPoint(coin_id, pair[1], _seconds(pair[0]), payload_text(pair))


def _seconds(milliseconds: Any) -> Any:
    """The one place where milliseconds become seconds; what is not a number stays as it is."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        return milliseconds
    try:
        return milliseconds / 1000
    except OverflowError:
        return milliseconds


def _plain(coin_id: str) -> str:
    """A stranger's text made safe for logs and metadata: ASCII and bounded."""
    return ascii(coin_id)[1:-1][:100]
