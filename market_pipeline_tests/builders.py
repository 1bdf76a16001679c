"""What tests of several rooms build and look up: rows, request budgets, the rows of a table, waiting.

The time of a built row is counted in minutes from `START`.
"""

import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from hashlib import md5
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Table, select

from market_pipeline.budget.plan_limits import Account, Limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.errors import BudgetExhausted
from market_pipeline.coingecko.request_budget import Grant
from market_pipeline.core.clock import to_microseconds
from market_pipeline.core.columns import Columns
from market_pipeline.core.symbols import KNOWN_COINS, UNKNOWN_COIN
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import tables

START = datetime(2024, 3, 1, tzinfo=timezone.utc)
T = TypeVar("T")


def coin_id(symbol: str) -> str:
    """The id under which a Database made without a catalogue reads `symbol`."""
    return KNOWN_COINS.get(symbol, UNKNOWN_COIN)


def at(minutes: float) -> datetime:
    """A time in minutes after START."""
    return START + timedelta(minutes=minutes)


def price_row(symbol: str = "BTC", minutes: float = 0, price: float = 100.0, **changes: Any) -> dict[str, Any]:
    """A row of `raw_prices`."""
    return {
        "symbol": symbol,
        "coin_id": coin_id(symbol),
        "timestamp": at(minutes),
        "price": price,
        "source": "simple_price",
        "ingested_at": at(minutes + 1),
        **changes,
    }


def refusal_row(number: int, symbol: str = "BTC", **changes: Any) -> dict[str, Any]:
    """A row of `rejected_prices`, refused `number` minutes after START."""
    return {
        "id": f"{number:032d}",
        "symbol": symbol,
        "coin_id": coin_id(symbol),
        "day": START.date(),
        "reason": "negative_price",
        "detail": "-1",
        "timestamp": at(number),
        "payload": "{}",
        "source": "simple_price",
        "run_id": "r1",
        "refused_at": at(number),
        **changes,
    }


def anomaly_row(symbol: str = "BTC", minutes: float = 0, kind: str = "jump", **changes: Any) -> dict[str, Any]:
    """A row of `price_anomalies`; its id follows from symbol, time and kind, as the detectors' ids do."""
    when = changes.get("timestamp", at(minutes))
    identity = md5(f"{symbol} {when} {kind}".encode(), usedforsecurity=False).hexdigest()
    unknown = [column.name for column in tables.price_anomalies.columns if column.nullable]
    return {
        "symbol": symbol,
        "coin_id": coin_id(symbol),
        "timestamp": when,
        "kind": kind,
        "id": identity,
        "episode_id": identity,
        "scope": "idiosyncratic",
        "severity": "alert",
        "direction": "up",
        "detected_at": when,
        "price_before": 100.0,
        "timestamp_before": when - timedelta(minutes=5),
        "price_after": 106.0,
        "move": 0.06,
        "elapsed_seconds": 300.0,
        "horizon_minutes": 5.0,
        "score": 6.0,
        "threshold": 5.0,
        "hour_factor": 1.0,
        "quotes_used": 2000,
        "stale_minutes": 0.0,
        "calibration": "gpd",
        "quality_flags": "",
        **{name: when for name in ("episode_first", "episode_peak", "episode_last")},
        "detector_version": "3",
        "headline": "BTC rose 6.0% in 5 min.",
        "explanation": "BTC rose.",
        **dict.fromkeys(unknown),
        "expected_move": 0.01,
        "calibrated_at": START,
        "peers_moved": 2,
        **changes,
    }


def prices_of(*rows: Mapping[str, Any]) -> Columns:
    """Rows of `raw_prices` as Columns."""
    return columns_of(tables.raw_prices, rows)


def refusals_of(*rows: Mapping[str, Any]) -> Columns:
    """Rows of `rejected_prices` as Columns."""
    return columns_of(tables.rejected_prices, rows)


def anomalies_of(*rows: Mapping[str, Any]) -> Columns:
    """Rows of `price_anomalies` as Columns."""
    return columns_of(tables.price_anomalies, rows)


def store(database: Database, table: Table, *rows: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Upsert rows; return them."""
    upsert(database, table, columns_of(table, rows))
    return list(rows)


def stored_rows(database: Database, table: Table) -> list[dict[str, Any]]:
    """All rows of a table, ordered by its key."""
    with database.reading() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row._mapping) for row in found]


_NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
_START = to_microseconds(_NOON)
_numbers = itertools.count()


def generous_budget(database: Database, waits: Sequence[float] = ()) -> SharedBudget:
    """A thousand requests a minute of an account of its own, in a time that only sleeping moves.

    Those are the sleeps recorded in `waits`, such as those of the client, and the budget's own.
    """
    own: list[float] = []
    return SharedBudget(
        database,
        Account("keyless", f"host-{next(_numbers)}"),
        Limits(1_000, None),
        sleep=own.append,
        clock=lambda now: _START + round(1_000_000 * (sum(own) + sum(waits))),
    )


@dataclasses.dataclass
class Recorder:
    """A budget that grants `left` requests and records their outcomes."""

    left: int = 100
    endpoints: list[str] = dataclasses.field(default_factory=list)
    outcomes: list[tuple[str, float | None]] = dataclasses.field(default_factory=list)
    reasons: list[str] = dataclasses.field(default_factory=list)

    def acquire(self, endpoint: str) -> Grant:
        if len(self.endpoints) == self.left:
            raise BudgetExhausted("nothing is left.", endpoint=endpoint, retry_after=90.0)
        self.endpoints.append(endpoint)
        return Grant(endpoint, _NOON, 0.0)

    def settle(self, grant: Grant, outcome: str, cool_down: float | None = None, reason: str = "") -> None:
        assert grant.endpoint == self.endpoints[-1]
        self.outcomes.append((outcome, cool_down))
        self.reasons.append(reason)


def wait_for(condition: Callable[[], T], seconds: float, what: str) -> T:
    """The first true value of `condition()`; the test fails if there is none within `seconds`."""
    deadline, pause = time.monotonic() + seconds, 0.01
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(pause)
        pause = min(0.5, 1.5 * pause)
    return found


def check_sentences(file: Path, sentences: Sequence[str]) -> None:
    """Compare `sentences` with the lines of `file`; with UPDATE_SENTENCES=1 write them instead."""
    if os.environ.get("UPDATE_SENTENCES"):
        file.write_text("".join(f"{sentence}\n" for sentence in sentences), encoding="utf-8")
    assert list(sentences) == file.read_text(encoding="utf-8").splitlines()
