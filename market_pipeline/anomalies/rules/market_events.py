"""Market events: the market as a whole moved. One row, with its members linked, not an alarm per coin.

A quote whose calibrated market p is below the level of large moves triggers an event if at least three coins are
known and at least 60 % of them moved the same way. Triggers at most 60 minutes apart are one event. Its
row belongs to the coin that had moved most when it began, so that it keeps its id while it goes on. An
event ends at midnight UTC and begins again there, in the same episode, because a day's rows must not
refer to rows of another.
"""

from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import PARAMETERS, DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, MarketContext, score_of
from market_pipeline.anomalies.rules.flags import WARM_UP, large_move_levels
from market_pipeline.anomalies.rules.peers import MOVED, Moves, moves_between, slow_volatility
from market_pipeline.anomalies.rules.score_table import MICROSECONDS, Positions, ScoreTable, same_day

_FEWEST_COINS = 3
_SAME_WAY = 0.6
MINUTE = 60 * MICROSECONDS
# Members' own rows may come before the market is known to move, by the length of its move up to this.
_LONGEST_LEAD = 60 * MINUTE


@dataclass
class MarketEvent:
    """An event: its row, its members by the size of their moves, and its triggers' time span.

    `moves` are standardised moves by symbol, signed, the largest seen; times in microseconds.
    """

    candidate: Candidate
    direction: int
    first: int
    last: int
    lead: int
    peak: int
    moves: dict[str, float] = field(default_factory=dict)


def find_market_events(table: ScoreTable, settings: DetectionSettings) -> list[MarketEvent]:
    """The events in time order."""
    events: list[MarketEvent] = []
    if len(table.symbols) < _FEWEST_COINS:
        return events
    width = int(settings.episode_minutes * MINUTE)
    for at in _triggers(table, settings):
        moment = int(table.moments[at])
        event = events[-1] if events else None
        if event and moment - event.last <= width and same_day(moment, event.last):
            event.last = moment
            if table["market_p"][at] < table["market_p"][event.peak]:
                event.peak = at
        elif (begun := _begin(table, at, event, settings)) is not None:
            events.append(begun)
    return [_completed(table, event) for event in events]


def _triggers(table: ScoreTable, settings: DetectionSettings) -> list[int]:
    """The quotes at which the market's move is flagged, in time order over all symbols."""
    low = table["market_p"] < large_move_levels(table, settings)
    flagged: Positions = np.flatnonzero(low & (table["before"] >= 0))
    in_time = flagged[np.argsort(table.moments[flagged], kind="stable")]
    return [at for at in in_time.tolist() if WARM_UP not in table.quality(at)]


def _begin(
    table: ScoreTable, at: int, previous: MarketEvent | None, settings: DetectionSettings
) -> MarketEvent | None:
    """The event that begins with the quote at `at`, if enough coins moved the same way."""
    moves, lead = _largest_moves(table, at)
    standard = moves.standard
    middle = median(_known(moves) or [0.0])
    direction = 1 if middle > 0 else -1
    same = np.nan_to_num(standard * direction) >= MOVED
    known = len(_known(moves))
    moment = int(table.moments[at])
    # A coin whose quotes have stopped may have moved most, but not now, and it may have led the last event.
    since = moment - _interval(table, at)
    if previous is not None:
        since = max(since, int(table.moments[previous.candidate.at]) + 1)
    leader = _leader(table, (since, moment), moves, np.where(same, standard * direction, 0.0))
    if np.count_nonzero(same) < max(_FEWEST_COINS, _SAME_WAY * known) or leader is None:
        return None
    own, before = int(moves.after[leader]), int(moves.before[leader])
    p = table.number("market_p", at)
    seen = max(int(table.moments[moves.after[same]].max()), moment)
    market = MarketContext(Scope.MARKET, middle, peers_moved=int(np.count_nonzero(same)) - 1, seen=seen)
    level = float(large_move_levels(table, settings)[at])
    candidate = Candidate(Kind.MARKET_MOVE, own, before, score_of(p), score_of(level), p, market=market)
    event = MarketEvent(candidate, direction, moment, moment, min(lead, _LONGEST_LEAD), at)
    _add_members(table, event, moves)
    return event


def _leader(
    table: ScoreTable, span: tuple[int, int], moves: Moves, sizes: NDArray[np.float64]
) -> int | None:
    """The number of the coin that moved most, by `sizes`, among those quoted since the start of `span`.

    Its quote must lie in the day of the span's end, as nearest quotes may lie beyond midnight.
    """
    for code in np.argsort(-sizes, kind="stable").tolist():
        quoted = int(table.moments[moves.after[code]])
        if sizes[code] > 0 and quoted >= span[0] and same_day(quoted, span[1]):
            return int(code)
    return None


def _interval(table: ScoreTable, at: int) -> int:
    """The time since the changed quote before, microseconds."""
    return max(int(table.number("elapsed_seconds", at) * MICROSECONDS), MINUTE)


def _largest_moves(table: ScoreTable, at: int) -> tuple[Moves, int]:
    """The coins' moves up to the quote at `at`, over the horizon at which their median is largest."""
    end = int(table.moments[at])
    widths = [_interval(table, at), *(int(horizon * MINUTE) for horizon in PARAMETERS.horizons)]
    best: tuple[float, Moves, int] | None = None
    for width in widths:
        moves = moves_between(table, end - width, end, slow_volatility)
        known = _known(moves)
        size = abs(median(known)) if len(known) >= _FEWEST_COINS else -1.0
        if best is None or size > best[0]:
            best = (size, moves, width)
    assert best is not None
    return best[1], best[2]


def _known(moves: Moves) -> list[float]:
    known: list[float] = moves.standard[np.isfinite(moves.standard)].tolist()
    return known


def _add_members(table: ScoreTable, event: MarketEvent, moves: Moves) -> None:
    for symbol, move in zip(table.symbols, moves.standard.tolist(), strict=True):
        if abs(move) >= MOVED and move * event.direction > abs(event.moves.get(symbol, 0.0)):
            event.moves[symbol] = move


def _completed(table: ScoreTable, event: MarketEvent) -> MarketEvent:
    """The event with the members of its peak, and as rare as that."""
    if event.peak != event.candidate.at:
        _add_members(table, event, _largest_moves(table, event.peak)[0])
    members = tuple(sorted(event.moves, key=lambda symbol: (-abs(event.moves[symbol]), symbol)))
    p = table.number("market_p", event.peak)
    event.candidate = replace(event.candidate, members=members, score=score_of(p), p=p, until=event.peak)
    return event
