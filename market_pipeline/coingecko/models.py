"""What the client hands out: points exactly as the server sent them, still unjudged.

JSON documents end here. A point keeps its values raw (`object`), because whether they are prices
and times is for `prices.validate` to say.
"""

import json
import reprlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from market_pipeline.coingecko.errors import CoinGeckoError

PAYLOAD_LIMIT = 2_000
# So many ids or characters of a name are shown of what others send.
_SHOWN_IDS = 20
_SHOWN_CHARACTERS = 100


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
    """The current prices: one point for each coin of an answered request, in the order asked for, and the
    errors of coins without an answer.

    `unasked` are ids that were in an answer without being asked for, to be shown: of more than 20 the
    last entry says how many there are.
    """

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
    """The points in the `prices` of an answer of /market_chart, whose times are milliseconds."""
    return tuple(_chart_point(pair, coin_id) for pair in prices)


def listed_coins(document: list[Any]) -> tuple[ListedCoin, ...]:
    """The coins in an answer of /coins/list; an entry without an id names no coin and is left out."""
    entries = [entry for entry in document if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    return tuple(
        ListedCoin(*(_name(entry.get(field)) for field in ("id", "symbol", "name"))) for entry in entries
    )


def _name(value: object) -> str:
    """A name as text that fits into a line; empty where there is none."""
    return str(value or "")[:_SHOWN_CHARACTERS]


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


def _some(ids: Collection[str], document: Iterable[str]) -> tuple[str, ...]:
    """The first of `ids` in the order of `document`, and how many more there are."""
    shown = [_plain(coin_id) for coin_id in islice((name for name in document if name in ids), _SHOWN_IDS)]
    more = len(ids) - len(shown)
    return (*shown, f"and {more:,} more") if more else tuple(shown)


def _plain(coin_id: str) -> str:
    """A stranger's text made safe for logs and metadata: ASCII and bounded."""
    return ascii(coin_id)[1:-1][:_SHOWN_CHARACTERS]


# No plan sells so much; larger numbers would not fit into the database either.
_LARGEST_RATE = 10**9
_LARGEST_CREDITS = 10**15


@dataclass(frozen=True)
class KeyInfo:
    """The limits that bind this key, of the account or of the key itself, whichever is tighter.

    `credits_left` is what this key may still spend of `monthly_credits` this month.
    """

    plan: str
    requests_per_minute: int
    monthly_credits: int
    credits_left: int


def key_info(document: Mapping[str, Any]) -> KeyInfo:
    """The answer of /key; ValueError names what it lacks or has no usable number for. What it says of the
    key alone is optional."""
    plan = document.get("plan")
    if not isinstance(plan, str):
        raise ValueError("plan")
    per_minute = _count(document, "rate_limit_request_per_minute", _LARGEST_RATE)
    credits = _count(document, "monthly_call_credit")
    own_credits = _optional(document, "api_key_monthly_call_credit")
    left = _count(document, "current_remaining_monthly_calls")
    own_calls = _optional(document, "api_key_current_total_monthly_calls")
    if own_credits is not None:
        left = min(left, max(0, own_credits - (own_calls or 0)))
    return KeyInfo(
        plan=plan,
        requests_per_minute=_least(
            per_minute, _optional(document, "api_key_rate_limit_request_per_minute", _LARGEST_RATE)
        ),
        monthly_credits=_least(credits, own_credits),
        credits_left=left,
    )


def _least(account: int, key: int | None) -> int:
    return account if key is None else min(account, key)


def _count(document: Mapping[str, Any], name: str, largest: int = _LARGEST_CREDITS) -> int:
    count = _optional(document, name, largest)
    if count is None:
        raise ValueError(name)
    return count


def _optional(document: Mapping[str, Any], name: str, largest: int = _LARGEST_CREDITS) -> int | None:
    value = document.get(name)
    return value if type(value) is int and 0 <= value <= largest else None
