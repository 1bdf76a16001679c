"""Faults on demand: what can go wrong, how often, for which requests. Which are waiting is in
`fault_book`, how an answer is spoilt in `spoil`, how a connection is cut in `loopback`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

# The whole answer is replaced, delayed or cut; these come before keys and limits are looked at.
WHOLE_ANSWER = frozenset(
    {
        "status",
        "throttled",
        "redirect",
        "echo",
        "hang",
        "cut",
        "cut_middle",
        "truncated_json",
        "html",
        "error_body",
        "empty_object",
    }
)
# Single values are spoilt: of the named coin (or of every coin) in /simple/price, of the middle
# point in history.
VALUES = frozenset(
    {
        "null_price",
        "negative_price",
        "zero_price",
        "nan_price",
        "infinite_price",
        "text_price",
        "future_timestamp",
        "missing_timestamp",
    }
)
QUOTES_ONLY = frozenset({"missing_coin", "missing_price", "stale_timestamp", "wrong_id"})
POINTS_ONLY = frozenset({"no_points", "duplicated_points", "out_of_order_points", "points_outside_window"})
# The list of coins no longer holds the named coin, holds it under another id, or with another ticker.
LISTING_ONLY = frozenset({"unlisted_coin", "renamed_coin", "new_ticker"})
KINDS = WHOLE_ANSWER | VALUES | QUOTES_ONLY | POINTS_ONLY | LISTING_ONLY

_NEED_A_COIN = {"wrong_id", *LISTING_ONLY}

_LONGEST = 315_360_000
_DEFAULT_SECONDS = {"hang": 30.0, "future_timestamp": 3600.0, "stale_timestamp": 172_800.0}


@dataclass(frozen=True)
class Fault:
    """One fault; ValueError says what is wrong with it.

    kind: one of `KINDS`. `throttled` is the edge's bare word under 429; `redirect` leads elsewhere,
        and it and `echo` (401) repeat the key that was sent, in the header and in the body.
    times: how many requests meet it; None until it is cleared.
    path: only requests whose path below the API's base starts so, e.g. /coins/bitcoin.
    coin: only requests that name this coin id, and in a shared answer only this coin.
    status, code: for `status`, the HTTP status and, where a status has several bodies, the error
        code that picks one (e.g. 401 with 10012, 429 with 1015).
    retry_after: for `status`, `throttled` and `error_body`, the value of the Retry-After header, sensible
        or not.
    reset_after: for the same, seconds from now that the x-ratelimit-reset header names.
    seconds: how long a `hang` lasts (30), how far a timestamp lies in the future (3,600) or a
        stale one in the past (172,800).
    keyed_as: for `wrong_id`, the id under which the answer for `coin` comes; for `renamed_coin` the id
        under which it is listed (one that is listed already: the coins were merged); for `new_ticker`
        its ticker.
    """

    kind: str
    times: int | None = 1
    path: str | None = None
    coin: str | None = None
    status: int = 503
    code: int | None = None
    retry_after: str | int | None = None
    reset_after: float | None = None
    seconds: float | None = None
    keyed_as: str = "ethereum"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is not one of {', '.join(sorted(KINDS))}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times {self.times} is not at least 1 (null: until cleared)")
        if not 400 <= self.status <= 599:
            raise ValueError(f"status {self.status} is not an error status from 400 to 599")
        if self.path is not None and not self.path.startswith("/"):
            raise ValueError(f"path {self.path!r} does not start with /")
        for name, value in (("seconds", self.seconds), ("reset_after", self.reset_after)):
            if value is not None and not 0 <= value <= _LONGEST:
                raise ValueError(f"{name} {value} is not between 0 and {_LONGEST} (ten years)")
        if self.kind in _NEED_A_COIN and self.coin is None:
            raise ValueError(f"{self.kind} needs the coin that it is about")

    @property
    def duration(self) -> float:
        """`seconds`, or what is usual for the kind."""
        return _DEFAULT_SECONDS.get(self.kind, 0.0) if self.seconds is None else self.seconds

    def matches(self, path: str, coin_ids: Collection[str]) -> bool:
        """Whether a request for `path` that names `coin_ids` meets this fault."""
        return path.startswith(self.path or "/") and (self.coin is None or self.coin in coin_ids)


_TYPES: Mapping[str, tuple[type, ...]] = {
    "kind": (str,),
    "times": (int, type(None)),
    "path": (str, type(None)),
    "coin": (str, type(None)),
    "status": (int,),
    "code": (int, type(None)),
    "retry_after": (str, int, type(None)),
    "reset_after": (int, float, type(None)),
    "seconds": (int, float, type(None)),
    "keyed_as": (str,),
}


def parse_fault(document: Any) -> Fault:
    """The fault that a JSON object describes; ValueError names the field and what is allowed."""
    if not isinstance(document, dict):
        raise ValueError('a fault is a JSON object such as {"kind": "status", "status": 503}')
    if "kind" not in document:
        raise ValueError(f"kind is missing; it is one of {', '.join(sorted(KINDS))}")
    for name, value in document.items():
        if name not in _TYPES:
            raise ValueError(f"{name!r} is not a field of a fault; those are {', '.join(_TYPES)}")
        if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
            raise ValueError(f"{name} cannot be {value!r}")
    return Fault(**document)
