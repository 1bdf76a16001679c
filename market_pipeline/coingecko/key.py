"""What CoinGecko tells about the API key in use: its plan, its limits and what is left of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
