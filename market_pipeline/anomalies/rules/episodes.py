"""Episodes: flagged quotes of one symbol and kind at most 60 minutes apart, and which large moves repeat one."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.parameters import DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, id_of
from market_pipeline.anomalies.rules.score_table import MINUTE, ScoreTable, day_of


@dataclass(frozen=True)
class Span:
    """The quotes that a candidate represents, in microseconds; more than one only for market events."""

    first: int
    last: int
    peak: int


@dataclass(frozen=True)
class Episode:
    """The id of the first row, and the times of the first, most unusual and last quote."""

    id: str
    first: int
    peak: int
    last: int


def find_episodes(
    table: ScoreTable, candidates: Iterable[Candidate], events: Mapping[int, Span], settings: DetectionSettings
) -> dict[tuple[Kind, int], Episode]:
    """Return the episode of each candidate, by its kind and position.

    A market move belongs to no one symbol and lasts as long as its event: `events` has the span of each by position.
    """
    chains: dict[tuple[str, Kind], list[list[tuple[Candidate, Span]]]] = {}
    width = settings.episode_minutes * MINUTE
    for candidate in sorted(candidates, key=lambda each: table.moment(each.at)):
        moment = table.moment(candidate.at)
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
    """Build an episode; its peak is the highest score, of equals the first."""
    first, peak, last = members[0], max(members, key=lambda member: member[0].score), members[-1]
    return Episode(id_of(table, first[0].kind, first[0].at), first[1].first, peak[1].peak, last[1].last)


def only_growing(
    table: ScoreTable, candidates: Iterable[Candidate], episodes: Mapping[tuple[Kind, int], Episode]
) -> Iterator[Candidate]:
    """Drop large moves that are no larger than an earlier one of their episode.

    For hours after a crash every quote is far from the price of one or four hours before; all of them extend the
    episode, but only growth is flagged. Rises and falls are separate, and so is each UTC day, because a day's rows must
    not depend on another day's. `candidates` of each symbol are in time order.
    """
    highest: dict[tuple[str, bool, int], float] = {}
    for candidate in candidates:
        if candidate.kind is Kind.LARGE_MOVE:
            rises = table.log_move(candidate.before, candidate.at) > 0
            episode = episodes[candidate.kind, candidate.at].id
            key = (episode, rises, day_of(table.moment(candidate.at)))
            if candidate.score <= highest.get(key, 0.0):
                continue
            highest[key] = candidate.score
        yield candidate
