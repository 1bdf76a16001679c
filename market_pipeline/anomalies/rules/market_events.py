"""Market events: the market as a whole moved. One row with its members linked, not an alarm per coin.

A quote whose calibrated market p is below the level of large moves triggers an event if at least three coins are known
and at least 60% of them moved the same way. Triggers at most 60 minutes apart are one event. Its row belongs to the
coin that had moved most when it began, so that its id is stable while it lasts. An event ends at midnight UTC and
begins again there, in the same episode, because a day's rows must not refer to another day's.
"""

from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import PARAMETERS, DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, MarketContext, score_of
from market_pipeline.anomalies.rules.episodes import Span
from market_pipeline.anomalies.rules.flags import large_move_levels
from market_pipeline.anomalies.rules.peers import Moves, moves_between, slow_volatility
from market_pipeline.anomalies.rules.score_table import MICROSECONDS, MINUTE, Positions, ScoreTable, same_day
from market_pipeline.anomalies.scores.market import MOVED
from market_pipeline.anomalies.scores.returns import WARM_UP
from market_pipeline.anomalies.series import Floats

_FEWEST_COINS = 3
_SAME_WAY = 0.6
# Members' rows may precede the event by the length of its first move, up to this.
_LONGEST_LEAD = 60 * MINUTE


@dataclass
class MarketEvent:
    """An event: its row, and the time span of its triggers in microseconds; `peak` is a position.

    `moves` are the members' standardised moves, signed, the largest of each.
    """

    candidate: Candidate
    direction: int
    first: int
    last: int
    lead: int
    peak: int
    moves: dict[str, float] = field(default_factory=dict)

    def span(self, table: ScoreTable) -> Span:
        """Return the times of the first, last and most unusual trigger."""
        return Span(self.first, self.last, table.moment(self.peak))


def find_market_events(table: ScoreTable, settings: DetectionSettings) -> list[MarketEvent]:
    """Return the events in time order."""
    events: list[MarketEvent] = []
    if len(table.symbols) < _FEWEST_COINS:
        return events
    width = int(settings.episode_minutes * MINUTE)
    for at in _triggers(table, settings):
        moment = table.moment(at)
        event = events[-1] if events else None
        if event and moment - event.last <= width and same_day(moment, event.last):
            event.last = moment
            if table["market_p"][at] < table["market_p"][event.peak]:
                event.peak = at
        elif (begun := _begin(table, at, event, settings)) is not None:
            events.append(begun)
    return [_completed(table, event) for event in events]


def _triggers(table: ScoreTable, settings: DetectionSettings) -> list[int]:
    """Return the quotes at which the market's move is flagged, in time order over all symbols."""
    low = table["market_p"] < large_move_levels(table, settings)
    flagged: Positions = np.flatnonzero(low & (table["before"] >= 0))
    in_time = flagged[np.argsort(table.moments[flagged], kind="stable")]
    return [at for at in in_time.tolist() if WARM_UP not in table.quality(at)]


def _begin(table: ScoreTable, at: int, previous: MarketEvent | None, settings: DetectionSettings) -> MarketEvent | None:
    """Return the event that begins with the quote at `at`, if enough coins moved the same way."""
    moves, lead = _largest_moves(table, at)
    known = moves.known()
    middle = median(known or [0.0])
    direction = 1 if middle > 0 else -1
    same = np.nan_to_num(moves.standard * direction) >= MOVED
    moment = table.moment(at)
    # The leader was quoted just now: a coin whose quotes stopped may have moved most earlier, and may have led the
    # previous event.
    since = moment - _interval(table, at)
    if previous is not None:
        since = max(since, table.moment(previous.candidate.at) + 1)
    leader = _leader(table, (since, moment), moves, np.where(same, moves.standard * direction, 0.0))
    if np.count_nonzero(same) < max(_FEWEST_COINS, _SAME_WAY * len(known)) or leader is None:
        return None
    own, before = int(moves.after[leader]), int(moves.before[leader])
    p, level = table.number("market_p", at), float(large_move_levels(table, settings)[at])
    seen = max(int(table.moments[moves.after[same]].max()), moment)
    market = MarketContext(Scope.MARKET, middle, peers_moved=int(np.count_nonzero(same)) - 1, seen=seen)
    candidate = Candidate(Kind.MARKET_MOVE, own, before, score_of(p), score_of(level), p, market=market)
    event = MarketEvent(candidate, direction, moment, moment, min(lead, _LONGEST_LEAD), at)
    _add_members(table, event, moves)
    return event


def _leader(table: ScoreTable, span: tuple[int, int], moves: Moves, sizes: Floats) -> int | None:
    """Return the number of the coin that moved most, by `sizes`, among those quoted since the start of `span`.

    Its quote must lie in the day of the span's end, as nearest quotes may lie beyond midnight.
    """
    for code in np.argsort(-sizes, kind="stable").tolist():
        quoted = int(table.moments[moves.after[code]])
        if sizes[code] > 0 and quoted >= span[0] and same_day(quoted, span[1]):
            return int(code)
    return None


def _interval(table: ScoreTable, at: int) -> int:
    """Return the time since the last changed quote, microseconds."""
    return max(int(table.number("elapsed_seconds", at) * MICROSECONDS), MINUTE)


def _largest_moves(table: ScoreTable, at: int) -> tuple[Moves, int]:
    """Return the coins' moves up to the quote at `at` over the horizon at which their median is largest, and that."""
    end = table.moment(at)
    widths = [_interval(table, at), *(int(horizon * MINUTE) for horizon in PARAMETERS.horizons)]
    choices = [(moves_between(table, end - width, end, slow_volatility), width) for width in widths]

    def size(choice: tuple[Moves, int]) -> float:
        known = choice[0].known()
        return abs(median(known)) if len(known) >= _FEWEST_COINS else -1.0

    return max(choices, key=size)


def _add_members(table: ScoreTable, event: MarketEvent, moves: Moves) -> None:
    for symbol, move in zip(table.symbols, moves.standard.tolist(), strict=True):
        if abs(move) >= MOVED and move * event.direction > abs(event.moves.get(symbol, 0.0)):
            event.moves[symbol] = move


def _completed(table: ScoreTable, event: MarketEvent) -> MarketEvent:
    """Return the event with the members of its peak, and as rare as that."""
    if event.peak != event.candidate.at:
        _add_members(table, event, _largest_moves(table, event.peak)[0])
    members = tuple(sorted(event.moves, key=lambda symbol: (-abs(event.moves[symbol]), symbol)))
    p = table.number("market_p", event.peak)
    event.candidate = replace(event.candidate, members=members, score=score_of(p), p=p, until=event.peak)
    return event
