"""A candidate: a flagged quote before it becomes an `Anomaly`.

Positions are those of the `ScoreTable`; the rules pass on lists of candidates, sorted by position.
"""

import math
from dataclasses import dataclass

from market_pipeline.anomalies.anomaly import Kind, Scope, anomaly_id
from market_pipeline.anomalies.parameters import LEAST_P
from market_pipeline.anomalies.rules.score_table import ScoreTable


@dataclass(frozen=True)
class MarketContext:
    """How the market moved with a flagged quote; NaN where unknown.

    `seen` is the time (microseconds since 1970) of the last quote of another coin that was used.
    """

    scope: Scope
    market_z: float = math.nan
    beta: float = math.nan
    residual_z: float = math.nan
    share: float = math.nan
    peers_moved: int | None = None
    seen: int = 0


@dataclass(frozen=True)
class Candidate:
    """A flagged quote at position `at`, whose move starts from the quote at `before`.

    `until` is the position of the quote that reversed a bad tick, or of the peak of a market event; `p` is
    calibrated, NaN if unknown, and for a market event the value at its peak.
    """

    kind: Kind
    at: int
    before: int
    score: float
    threshold: float
    p: float = math.nan
    p_raw: float = math.nan
    until: int | None = None
    flags: tuple[str, ...] = ()
    market: MarketContext | None = None
    event_id: str | None = None
    members: tuple[str, ...] = ()


def score_of(p: float) -> float:
    """Return -log10 of a probability, finite also for 0."""
    return -math.log10(max(p, LEAST_P))


def id_of(table: ScoreTable, kind: Kind, at: int) -> str:
    """Return the id of the row of this kind and quote: rescoring the quote gives the same id."""
    return anomaly_id(table.symbol(at), table.moment(at), kind.value)
