"""Several rules that flag one quote of one coin: the rarest by its p stands for the others.

They answer different questions, so each keeps its row; but they are one thing to look at, not three.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.rules.finding import Finding, id_of
from market_pipeline.anomalies.rules.score_table import ScoreTable

# Where two are as rare as each other, the first of these stands for both.
_ORDER = (Kind.JUMP, Kind.GAP_MOVE, Kind.LARGE_MOVE, Kind.IDIOSYNCRATIC, Kind.USER_THRESHOLD)


def link_same_quote(table: ScoreTable, findings: Iterable[Finding]) -> list[Finding]:
    """`findings` with the id of the row that stands for them in those that share its quote.

    Those that belong to something else already are left as they are.
    """
    kept = list(findings)
    leaders: dict[int, Finding] = {}
    for finding in kept:
        if _is_free(finding):
            leaders[finding.at] = min(leaders.get(finding.at, finding), finding, key=_rarity)
    return [_linked(table, finding, leaders) for finding in kept]


def _is_free(finding: Finding) -> bool:
    return finding.kind in _ORDER and finding.event_id is None


def _rarity(finding: Finding) -> tuple[float, int]:
    p = 1.0 if math.isnan(finding.p) else finding.p
    return p, _ORDER.index(finding.kind)


def _linked(table: ScoreTable, finding: Finding, leaders: dict[int, Finding]) -> Finding:
    if not _is_free(finding) or leaders[finding.at] is finding:
        return finding
    leader = leaders[finding.at]
    return replace(finding, event_id=id_of(table, leader.kind, leader.at))
