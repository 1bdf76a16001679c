"""Episodes: flagged quotes of one symbol and kind that follow each other within 60 minutes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.parameters import DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, id_of
from market_pipeline.anomalies.rules.flags import log_move
from market_pipeline.anomalies.rules.score_table import MICROSECONDS, ScoreTable, day_of


@dataclass(frozen=True)
class Span:
    """The flagged quotes that a candidate stands for, in microseconds; one quote but for market events."""

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
    candidates: Iterable[Candidate],
    events: Mapping[int, Span],
    settings: DetectionSettings,
) -> dict[tuple[Kind, int], Episode]:
    """The episode of each candidate, by its kind and position.

    A market move is of no one symbol and lasts as long as its event: `events` gives the span of each
    by its position.
    """
    chains: dict[tuple[str, Kind], list[list[tuple[Candidate, Span]]]] = {}
    width = settings.episode_minutes * 60 * MICROSECONDS
    for candidate in sorted(candidates, key=lambda each: int(table.moments[each.at])):
        moment = int(table.moments[candidate.at])
        is_market = candidate.kind is Kind.MARKET_MOVE
        span = events[candidate.at] if is_market else Span(moment, moment, moment)
        chain = chains.setdefault(("" if is_market else table.symbol(candidate.at), candidate.kind), [])
        if chain and span.first - chain[-1][-1][1].last <= width:
            chain[-1].append((candidate, span))
        else:
            chain.append([(candidate, span)])
    return {
        (candidate.kind, candidate.at): episode
        for chain in chains.values()
        for members in chain
        for episode in [_episode(table, members)]
        for candidate, _ in members
    }


def _episode(table: ScoreTable, members: list[tuple[Candidate, Span]]) -> Episode:
    """The highest score is the peak; of equals the first."""
    first, peak, last = members[0], max(members, key=lambda member: member[0].score), members[-1]
    return Episode(id_of(table, first[0].kind, first[0].at), first[1].first, peak[1].peak, last[1].last)


def only_growing(
    table: ScoreTable, candidates: Iterable[Candidate], episodes: Mapping[tuple[Kind, int], Episode]
) -> Iterator[Candidate]:
    """`candidates` (of each symbol in time order) without large moves that are no larger than one before."""
    highest: dict[tuple[str, bool, int], float] = {}
    for candidate in candidates:
        if candidate.kind is Kind.LARGE_MOVE:
            rises = log_move(table, candidate.before, candidate.at) > 0
            episode = episodes[candidate.kind, candidate.at].id
            key = (episode, rises, day_of(int(table.moments[candidate.at])))
            if candidate.score <= highest.get(key, 0.0):
                continue
            highest[key] = candidate.score
        yield candidate
