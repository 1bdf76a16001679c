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

    `market_move` is the median simple return of the other coins (of all coins for a market event) and `coins` how many
    coins were quoted over that time, this one included. `seen` is the time (microseconds since 1970) of the last quote
    of another coin that was used, `span` when an event's move began and peaked (microseconds).
    """

    scope: Scope
    market_z: float = math.nan
    beta: float = math.nan
    residual_z: float = math.nan
    share: float = math.nan
    peers_moved: int | None = None
    market_move: float = math.nan
    coins: int = 0
    seen: int = 0
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Candidate:
    """A flagged quote at position `at`, whose move starts from the quote at `before`.

    `peak` is the position of the furthest quote of an episode so far, from its first quote `at` on, `rarest` that of
    its rarest one; None where it is one quote. `p` is calibrated, `days` the return period (NaN if unknown) and `tail`
    the score (of `SCORES`, empty if unknown) whose tail they come from. `until` is the position of the quote that
    reversed a bad tick.
    """

    kind: Kind
    at: int
    before: int
    score: float
    threshold: float
    p: float = math.nan
    p_raw: float = math.nan
    days: float = math.nan
    tail: str = ""
    peak: int | None = None
    rarest: int | None = None
    until: int | None = None
    flags: tuple[str, ...] = ()
    market: MarketContext | None = None
    event_id: str | None = None
    members: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        """The position at which the move ends: the peak, or the flagged quote."""
        return self.at if self.peak is None else self.peak

    @property
    def rated(self) -> int:
        """The position of the quote that the probability is that of."""
        return self.at if self.rarest is None else self.rarest


def score_of(p: float) -> float:
    """Return -log10 of a probability, finite also for 0."""
    return -math.log10(max(p, LEAST_P))


def id_of(table: ScoreTable, kind: Kind, at: int) -> str:
    """Return the id of the row of this kind and quote: rescoring the quote gives the same id."""
    return anomaly_id(table.symbol(at), table.moment(at), kind.value)
