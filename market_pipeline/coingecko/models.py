"""What the client returns: points exactly as the server sent them, not validated yet.

JSON documents end here. The values of a point are raw (`object`): `prices.validation` decides whether
they are prices and times.
"""

import json
import reprlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from market_pipeline.coingecko.errors import CoinGeckoError

PAYLOAD_LIMIT = 2_000
# How much of untrusted ids and names is shown.
_SHOWN_IDS = 20
_SHOWN_CHARACTERS = 100
# No plan has larger limits, and the database could not store them.
_LARGEST_RATE = 10**9
_LARGEST_CREDITS = 10**15


@dataclass(frozen=True)
class RawPoint:
    """One price of one coin as the server sent it.

    By CoinGecko's documentation `price` is in US dollars and `timestamp` in UNIX seconds; both are None
    where the server sent none. `payload` is the part of the answer that held them, as bounded ASCII JSON.
    """

    coin_id: str
    price: object
    timestamp: object
    payload: str


@dataclass(frozen=True)
class PriceAnswer:
    """The current prices: one point for each coin of an answered request, in the order of the request.

    `failures` are the errors of coins without an answer. `unasked` are ids in an answer that were not
    requested, for display: of more than 20 the last entry counts the others.
    """

    points: tuple[RawPoint, ...]
    unasked: tuple[str, ...]
    failures: Mapping[str, CoinGeckoError] = field(default_factory=dict)


@dataclass(frozen=True)
class ListedCoin:
    """A coin as CoinGecko lists it; `symbol` is its ticker in any case, which other coins may share."""

    coin_id: str
    symbol: str
    name: str


def payload_text(part: Any) -> str:
    """Return `part` of an answer as ASCII JSON text of at most 2,000 characters."""
    try:
        text = json.dumps(part)
    except (RecursionError, ValueError):
        text = ascii(reprlib.repr(part))
    return text if len(text) <= PAYLOAD_LIMIT else text[: PAYLOAD_LIMIT - 3] + "..."


def price_points(document: dict[str, Any], coin_ids: tuple[str, ...]) -> PriceAnswer:
    """Return the points in an answer of /simple/price to a request for `coin_ids`.

    A coin that is not in the answer becomes a point without a price whose payload says so.
    """
    unasked = _some(document.keys() - set(coin_ids), document)
    missing = {"not_in_answer": True, "answered_instead": list(unasked)}
    points = []
    for coin_id in coin_ids:
        entry = document.get(coin_id)
        values = entry if isinstance(entry, dict) else {}
        payload = payload_text({coin_id: entry if coin_id in document else missing})
        points.append(RawPoint(coin_id, values.get("usd"), values.get("last_updated_at"), payload))
    return PriceAnswer(tuple(points), unasked)


def chart_points(prices: list[Any], coin_id: str) -> tuple[RawPoint, ...]:
    """Return the points in the `prices` of an answer of /market_chart, whose times are milliseconds."""
    return tuple(_chart_point(pair, coin_id) for pair in prices)


def listed_coins(document: list[Any]) -> tuple[ListedCoin, ...]:
    """Return the coins in an answer of /coins/list; entries without an id are omitted."""
    entries = [entry for entry in document if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    return tuple(
        ListedCoin(*(_name(entry.get(field)) for field in ("id", "symbol", "name"))) for entry in entries
    )


def _name(value: object) -> str:
    return str(value or "")[:_SHOWN_CHARACTERS]


def _chart_point(pair: Any, coin_id: str) -> RawPoint:
    if not isinstance(pair, list) or len(pair) != 2:
        return RawPoint(coin_id, None, None, payload_text(pair))
    return RawPoint(coin_id, pair[1], _seconds(pair[0]), payload_text(pair))


def _seconds(milliseconds: Any) -> Any:
    """Convert milliseconds to seconds (only here); return anything that is not a number unchanged."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        return milliseconds
    try:
        return milliseconds / 1000
    except OverflowError:
        return milliseconds


def _some(ids: Collection[str], document: Iterable[str]) -> tuple[str, ...]:
    """Return the first of `ids` in the order of `document`, and how many more there are."""
    shown = [_plain(coin_id) for coin_id in islice((name for name in document if name in ids), _SHOWN_IDS)]
    more = len(ids) - len(shown)
    return (*shown, f"and {more:,} more") if more else tuple(shown)


def _plain(coin_id: str) -> str:
    """Make untrusted text safe for logs and metadata: ASCII and bounded."""
    return ascii(coin_id)[1:-1][:_SHOWN_CHARACTERS]


@dataclass(frozen=True)
class KeyInfo:
    """The limits of a key: those of the account or of the key itself, whichever are tighter.

    `credits_left` of `monthly_credits` may still be spent this month.
    """

    plan: str
    requests_per_minute: int
    monthly_credits: int
    credits_left: int


def key_info(document: Mapping[str, Any]) -> KeyInfo:
    """Read the answer of /key. Limits of the key alone are optional.

    Raises a ValueError that names the first field that is missing or has no usable number.
    """
    plan = document.get("plan")
    if not isinstance(plan, str):
        raise ValueError("plan")
    per_minute = _required(document, "rate_limit_request_per_minute", _LARGEST_RATE)
    credits = _required(document, "monthly_call_credit")
    left = _required(document, "current_remaining_monthly_calls")
    key_per_minute = _optional(document, "api_key_rate_limit_request_per_minute", _LARGEST_RATE)
    key_credits = _optional(document, "api_key_monthly_call_credit")
    if key_per_minute is not None:
        per_minute = min(per_minute, key_per_minute)
    if key_credits is not None:
        key_calls = _optional(document, "api_key_current_total_monthly_calls") or 0
        credits, left = min(credits, key_credits), min(left, max(0, key_credits - key_calls))
    return KeyInfo(plan, per_minute, credits, left)


def _required(document: Mapping[str, Any], name: str, largest: int = _LARGEST_CREDITS) -> int:
    number = _optional(document, name, largest)
    if number is None:
        raise ValueError(name)
    return number


def _optional(document: Mapping[str, Any], name: str, largest: int = _LARGEST_CREDITS) -> int | None:
    value = document.get(name)
    return value if type(value) is int and 0 <= value <= largest else None
