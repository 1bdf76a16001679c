"""Confirmation: whether a move was still there an hour later.

The first quote an hour after the move decides: `persisted` if at least half of the move is left,
`reverted` if less than 30 % is. In between the next quotes decide, after four hours by half. Nothing is
decided while later quotes are missing.
"""

from dataclasses import dataclass

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.rules.finding import Finding
from market_pipeline.anomalies.rules.flags import log_move
from market_pipeline.anomalies.rules.score_table import MICROSECONDS, ScoreTable

PERSISTED = "persisted"
REVERTED = "reverted"

_CONFIRMED = (Kind.JUMP, Kind.LARGE_MOVE, Kind.GAP_MOVE, Kind.MARKET_MOVE)
_MINUTE = 60 * MICROSECONDS
# An hour less what an hourly quote may come early.
_FIRST_LOOK = 58 * _MINUTE
_LAST_LOOK = 240 * _MINUTE
_HALF = 0.5
_LITTLE = 0.3


@dataclass(frozen=True)
class Confirmation:
    """The verdict and the position of the quote that decided."""

    verdict: str
    at: int


def confirm(table: ScoreTable, finding: Finding) -> Confirmation | None:
    """The confirmation of a move by later quotes of its symbol; None while it is open."""
    if finding.kind not in _CONFIRMED:
        return None
    moment = int(table.moments[finding.at])
    move = log_move(table, finding.before, finding.at)
    for position in range(table.first_from(finding.at, moment + _FIRST_LOOK), table.end_of(finding.at)):
        left = log_move(table, finding.before, position) / move
        late = int(table.moments[position]) >= moment + _LAST_LOOK
        if left >= _HALF:
            return Confirmation(PERSISTED, position)
        if left < _LITTLE or late:
            return Confirmation(REVERTED, position)
    return None
