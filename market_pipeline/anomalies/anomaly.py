"""An anomaly: one flagged quote, as a row of the `price_anomalies` table, and which rows are alarms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING

from market_pipeline.core.columns import Columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Kind(str, Enum):
    """Which rule flagged the quote; `docs/anomalies.md` describes each rule."""

    USER_THRESHOLD = "user_threshold"
    JUMP = "jump"
    LARGE_MOVE = "large_move"
    MARKET_MOVE = "market_move"
    IDIOSYNCRATIC = "idiosyncratic"
    BAD_TICK = "bad_tick"
    STALE_FEED = "stale_feed"
    GAP_MOVE = "gap_move"


class Scope(str, Enum):
    """Whether the market moved with the coin; unknown where too few other coins have quotes."""

    MARKET = "market"
    IDIOSYNCRATIC = "idiosyncratic"
    MIXED = "mixed"
    UNKNOWN = "unknown"


class Severity(str, Enum):
    """How much the move matters, by how rare and how large it is."""

    WATCH = "watch"
    ALERT = "alert"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Anomaly:
    """One flagged quote; the fields are the columns of `price_anomalies`, in order, without the coin.

    Times are aware UTC, prices US dollars. `move` is a simple return (0.05 is +5%) from the price before to the price
    after; `expected_move` is one standard deviation of the return over the same time, on the same scale.
    Probabilities are two-sided and per quote. None means unknown or not applicable to the kind. The comments of the
    table describe each column.
    """

    symbol: str
    timestamp: datetime
    kind: str
    id: str
    episode_id: str
    event_id: str | None
    scope: str
    severity: str
    importance: float | None
    direction: str
    detected_at: datetime
    price_before: float
    timestamp_before: datetime
    price_after: float
    move: float
    elapsed_seconds: float
    horizon_minutes: float
    expected_move: float | None
    score: float
    threshold: float
    z: float | None
    p_raw: float | None
    p_calibrated: float | None
    expected_every_days: float | None
    volatility_annual: float | None
    volatility_percentile: float | None
    hour_factor: float
    market_z: float | None
    market_move: float | None
    beta: float | None
    residual_z: float | None
    market_share: float | None
    peers_moved: int | None
    members: str | None
    quotes_used: int
    stale_minutes: float
    calibration: str
    cadence: str | None
    calibration_days: float | None
    calibration_excesses: int | None
    calibrated_at: datetime | None
    quality_flags: str
    confirmation: str | None
    confirmed_at: datetime | None
    confirmed_price: float | None
    episode_first: datetime
    episode_peak: datetime
    episode_last: datetime
    detector_version: str
    headline: str
    explanation: str


def anomaly_id(symbol: str, moment: int, kind: str) -> str:
    """Return 32 hexadecimal digits; `moment` is the time of the quote in microseconds since 1970."""
    return sha256(f"{symbol} {moment} {kind}".encode()).hexdigest()[:32]


def is_alarm(row_id: str, event_id: str | None) -> bool:
    """Return whether a row is an alarm rather than evidence of one.

    Members of a market event, both legs of a bad tick and the less rare of several rows about one quote carry the id
    of the row that represents them as `event_id`. (The queries in `storage` filter by the same rule in SQL.)
    """
    return event_id is None or event_id == row_id


def headline_of(headline: str, explanation: str) -> str:
    """Return the headline of a row; rows without one were stored before there were any."""
    return headline or explanation


def alarms(anomalies: Iterable[Anomaly]) -> list[Anomaly]:
    """Return the rows that are alarms."""
    return [anomaly for anomaly in anomalies if is_alarm(anomaly.id, anomaly.event_id)]


def alarm_mask(rows: Columns) -> NDArray[np.bool_]:
    """Return which rows of `price_anomalies` are alarms."""
    import numpy as np

    return np.array([is_alarm(*ids) for ids in zip(rows["id"], rows["event_id"], strict=True)], dtype=np.bool_)


def by_importance(rows: Columns) -> Columns:
    """Return rows of `price_anomalies`, the most important first, then the newest; rows without one come last."""
    import numpy as np

    newest = -rows["timestamp"].astype(np.int64)
    return rows.take(np.lexsort((rows["kind"], rows["symbol"], newest, -importances(rows))))


def importances(rows: Columns) -> NDArray[np.float64]:
    """Return the importance of rows of `price_anomalies`, minus infinity where there is none."""
    import numpy as np

    return np.nan_to_num(rows["importance"].astype(np.float64), nan=-np.inf)
