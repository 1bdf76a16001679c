"""A candidate: a flagged quote on its way to becoming an `Anomaly`.

Positions are those of the `ScoreTable`; the rules pass lists of candidates on, sorted by position.
"""

import math
from dataclasses import dataclass

from market_pipeline.anomalies.anomaly import Kind, Scope, anomaly_id
from market_pipeline.anomalies.rules.score_table import ScoreTable

# What a probability of zero counts as: the score of the least that a float64 holds is about 300.
_LEAST_P = 1e-300


@dataclass(frozen=True)
class MarketContext:
    """How the market moved with a flagged quote; NaN where not known.

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

    `until` is the position of the quote that undid a bad tick, the peak of a market event; `p` is
    calibrated, NaN if unknown, that of a market event at its peak.
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
    """-log10 of a probability, finite also for 0."""
    return -math.log10(max(p, _LEAST_P))


def id_of(table: ScoreTable, kind: Kind, at: int) -> str:
    """32 hexadecimal digits from symbol, time and kind: the same quote flagged again has the same id."""
    return anomaly_id(table.symbol(at), int(table.moments[at]), kind.value)
