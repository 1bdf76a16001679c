"""Episodes: flagged quotes of one symbol and kind that follow each other within 60 minutes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.detection_settings import DetectionSettings
from market_pipeline.anomalies.rules.finding import Finding, id_of
from market_pipeline.anomalies.rules.score_table import MICROSECONDS, ScoreTable


@dataclass(frozen=True)
class Span:
    """The flagged quotes that a finding stands for, in microseconds; one quote but for market events."""

    first: int
    last: int
    peak: int


@dataclass(frozen=True)
class Episode:
    """An episode: the id of its first row, and the times of its first, most unusual and last quote."""

    id: str
    first: int
    peak: int
    last: int


def find_episodes(
    table: ScoreTable,
    findings: Iterable[Finding],
    events: Mapping[int, Span],
    settings: DetectionSettings,
) -> dict[tuple[Kind, int], Episode]:
    """The episode of each finding, by its kind and position.

    A market move is of no one symbol and lasts as long as its event: `events` gives the span of each
    by its position.
    """
    chains: dict[tuple[str, Kind], list[list[tuple[Finding, Span]]]] = {}
    width = settings.episode_minutes * 60 * MICROSECONDS
    for finding in sorted(findings, key=lambda each: int(table.moments[each.at])):
        moment = int(table.moments[finding.at])
        is_market = finding.kind is Kind.MARKET_MOVE
        span = events[finding.at] if is_market else Span(moment, moment, moment)
        chain = chains.setdefault(("" if is_market else table.symbol(finding.at), finding.kind), [])
        if chain and span.first - chain[-1][-1][1].last <= width:
            chain[-1].append((finding, span))
        else:
            chain.append([(finding, span)])
    return {
        (finding.kind, finding.at): episode
        for chain in chains.values()
        for members in chain
        for episode in [_episode(table, members)]
        for finding, _ in members
    }


def _episode(table: ScoreTable, members: list[tuple[Finding, Span]]) -> Episode:
    """The highest score is the peak; of equals the first."""
    first, peak, last = members[0], max(members, key=lambda member: member[0].score), members[-1]
    return Episode(id_of(table, first[0].kind, first[0].at), first[1].first, peak[1].peak, last[1].last)
