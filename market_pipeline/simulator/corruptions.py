"""Corrupts a good answer: puts the values of a fault into the document of an endpoint."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.messages import Document

_PRICES: dict[str, Any] = {
    "null_price": None,
    "negative_price": -1.0,
    "zero_price": 0,
    "nan_price": math.nan,
    "infinite_price": math.inf,
    "text_price": "unavailable",
}
_DAY_MS = 86_400_000


def corrupt_quotes(document: Document, fault: Fault, now: datetime) -> None:
    """Put `fault` into the document of /simple/price, for its coin or for every coin."""
    for coin_id in [fault.coin] if fault.coin else list(document):
        entry = document.get(coin_id)
        if entry is None:
            continue
        if fault.kind in _PRICES:
            entry["usd"] = _PRICES[fault.kind]
        elif fault.kind == "missing_price":
            entry.pop("usd", None)
        elif fault.kind == "missing_timestamp":
            entry.pop("last_updated_at", None)
        elif fault.kind in ("future_timestamp", "stale_timestamp"):
            entry["last_updated_at"] = int(_dated(fault, now).timestamp())
        elif fault.kind == "missing_coin":
            del document[coin_id]
        elif fault.kind == "wrong_id":
            document[fault.keyed_as] = document.pop(coin_id)


def corrupt_points(document: Document, fault: Fault, now: datetime) -> None:
    """Put `fault` into the document of a price history: into its middle point, or into its order."""
    if not document["prices"]:
        return
    if fault.kind in _PRICES:
        _middle(document["prices"])[1] = _PRICES[fault.kind]
        return
    for points in document.values():
        if fault.kind in _REARRANGED:
            _REARRANGED[fault.kind](points)
        else:
            known = fault.kind == "future_timestamp"
            _middle(points)[0] = round(_dated(fault, now).timestamp() * 1000) if known else None


def corrupt_listing(document: list[Document], fault: Fault) -> list[Document]:
    """Return the list of coins with `fault` in it; a coin that takes an id already listed is merged into that one."""
    others = [entry for entry in document if entry["id"] != fault.coin]
    named = [entry for entry in document if entry["id"] == fault.coin]
    if fault.kind == "new_ticker":
        return others + [{**entry, "symbol": fault.keyed_as} for entry in named]
    if fault.kind == "unlisted_coin" or fault.keyed_as in {entry["id"] for entry in others}:
        return others
    return others + [{**entry, "id": fault.keyed_as} for entry in named]


def _dated(fault: Fault, now: datetime) -> datetime:
    shift = timedelta(seconds=fault.duration)
    return now + shift if fault.kind == "future_timestamp" else now - shift


def _middle(points: list[list[Any]]) -> list[Any]:
    return points[len(points) // 2]


def _duplicate(points: list[list[Any]]) -> None:
    points.insert(len(points) // 2, list(_middle(points)))


def _add_outside(points: list[list[Any]]) -> None:
    """Add a point two days before the first, outside the window at every granularity."""
    at, value = points[0]
    points.insert(0, [at - 2 * _DAY_MS, value])


_REARRANGED: dict[str, Callable[[list[list[Any]]], None]] = {
    "no_points": list.clear,
    "duplicated_points": _duplicate,
    "out_of_order_points": list.reverse,
    "points_outside_window": _add_outside,
}
