"""Faults on demand: what can go wrong, how often, for which requests, and which are waiting.

How values are corrupted is in `corruptions`, how a connection is cut in `http_server`.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

# The whole answer is replaced, delayed or cut, before keys and limits are checked.
WHOLE_ANSWER = frozenset({
    "status", "throttled", "redirect", "echo", "hang", "cut", "cut_middle", "truncated_json", "html", "error_body",
    "empty_object",
})
# Single values are corrupted: of the named coin (or of every coin) in /simple/price, of the middle point in history.
VALUES = frozenset({
    "null_price", "negative_price", "zero_price", "nan_price", "infinite_price", "text_price", "future_timestamp",
    "missing_timestamp",
})
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
    """One fault; ValueError explains what is wrong with it.

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
        """`seconds`, or the default of the kind."""
        return _DEFAULT_SECONDS.get(self.kind, 0.0) if self.seconds is None else self.seconds

    def matches(self, path: str, coin_ids: Collection[str]) -> bool:
        """Return whether a request for `path` that names `coin_ids` meets this fault."""
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
    """Parse the fault that a JSON object describes; ValueError names the field and what is allowed."""
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


class FaultBook:
    """The faults that are waiting, in the order in which they were added. Thread-safe."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._waiting: list[tuple[Fault, int | None]] = [(fault, fault.times) for fault in faults]
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Let the next matching requests meet `fault`."""
        with self._lock:
            self._waiting.append((fault, fault.times))

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._waiting.clear()

    def take_whole(self, path: str, coin_ids: Collection[str]) -> Fault | None:
        """Return the first waiting fault of the whole answer that matches, and count it as met."""
        taken = self._take(lambda fault: fault.kind in WHOLE_ANSWER and fault.matches(path, coin_ids), most=1)
        return taken[0] if taken else None

    def take_kinds(self, kinds: Collection[str], path: str, coin_ids: Collection[str]) -> list[Fault]:
        """Return every waiting fault of `kinds` that matches, and count it as met: one answer can hold several."""
        return self._take(lambda fault: fault.kind in kinds and fault.matches(path, coin_ids))

    def as_documents(self) -> list[dict[str, Any]]:
        """Return the waiting faults for the admin path, with `remaining` instead of the original `times`."""
        with self._lock:
            return [{**_described(fault), "remaining": remaining} for fault, remaining in self._waiting]

    def _take(self, wanted: Callable[[Fault], bool], most: int | None = None) -> list[Fault]:
        taken: list[Fault] = []
        left: list[tuple[Fault, int | None]] = []
        with self._lock:
            for fault, remaining in self._waiting:
                if (most is None or len(taken) < most) and wanted(fault):
                    taken.append(fault)
                    remaining = None if remaining is None else remaining - 1
                if remaining != 0:
                    left.append((fault, remaining))
            self._waiting = left
        return taken


def _described(fault: Fault) -> dict[str, Any]:
    """Return the kind, the status where it matters, and what differs from the defaults."""
    shown = {"kind", "status"} if fault.kind == "status" else {"kind"}
    return {
        field.name: getattr(fault, field.name)
        for field in fields(fault)
        if field.name in shown or (field.name != "times" and getattr(fault, field.name) != field.default)
    }
