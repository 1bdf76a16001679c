"""Market events: the market as a whole moved. One row with its members linked, not an alarm per coin.

A trigger is a quote at which the market's move is rare enough, or at which flagged moves of two coins at one time, or
of three within an hour, go the same way with the market. An event begins with a trigger if at least three coins, and at
least 60% of those that are known, moved the same way, and their median move is material. `episodes` decides which
triggers are one event.

The row belongs to the coin that had moved most when the event began, so that its id is stable; its numbers are those of
the whole event so far: from its start to its peak, as rare as its rarest trigger.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, MarketContext, id_of
from market_pipeline.anomalies.rules.episodes import Border, Carried, Episode, Trigger, follow
from market_pipeline.anomalies.rules.paths import MarketPath
from market_pipeline.anomalies.rules.peers import LATER, Moves, market_context, moves_between, slow_volatility
from market_pipeline.anomalies.rules.score_table import MINUTE, Positions, ScoreTable, simple_return
from market_pipeline.anomalies.rules.severity import Materiality
from market_pipeline.anomalies.scores.market import MOVED
from market_pipeline.anomalies.scores.returns import WARM_UP
from market_pipeline.core.clock import MICROSECONDS_PER_DAY

_FEWEST_COINS = 3
_SAME_WAY = 0.6
# So many coins flagged at one time are the market's move, if enough others moved with them.
_TOGETHER = 2
_SHARED = (Kind.JUMP, Kind.LARGE_MOVE)
_LEAST_DAYS = 1e-9


@dataclass
class MarketEvent:
    """An event and its row; `moves` are the members' standardised moves, signed, the largest of each."""

    episode: Episode
    candidate: Candidate
    moves: dict[str, float] = field(default_factory=dict)


@dataclass
class _Beginning:
    """The coin whose row an event is, and the moves when it began."""

    leader: int
    moves: Moves
    seen: int


@dataclass
class EventFinder:
    """Finds the events of one table; `moves` are the flagged moves of coins with their market context."""

    table: ScoreTable
    moves: Sequence[Candidate]
    settings: DetectionSettings
    materiality: Materiality
    border: Border
    begun: dict[str, _Beginning] = field(default_factory=dict)

    def find(self, carried: Carried) -> list[MarketEvent]:
        """Return the events that begin in the table's day, in time order."""
        if len(self.table.symbols) < _FEWEST_COINS:
            return []
        triggers = sorted([*self._slow(), *self._shared()], key=lambda trigger: trigger.moment)
        owners = follow(triggers, MarketPath(self.table), self.border, self._begin, carried)
        episodes = {owner.id: owner for owner in owners if owner is not None and owner.id in self.begun}
        return [self._event(episode) for episode in episodes.values()]

    def _slow(self) -> list[Trigger]:
        """Return the times at which the market's move is rare enough, each with its rarest quote."""
        table, level = self.table, self.settings.market_move_days
        flagged = (table["market_days"] >= level) & (table["market_direction"] != 0) & (table["before"] >= 0)
        positions: Positions = np.flatnonzero(flagged & (table.moments >= self.border.since))
        triggers: dict[int, Trigger] = {}
        for at in positions[np.argsort(-table["market_days"][positions], kind="stable")].tolist():
            moment = table.moment(at)
            if moment in triggers or WARM_UP in table.quality(at):
                continue
            start = moment - max(int(table.number("market_horizon", at) * MINUTE), MINUTE)
            triggers[moment] = self._trigger(at, start, table.number("market_days", at))
        return list(triggers.values())

    def _trigger(self, at: int, start: int, days: float) -> Trigger:
        table, settings = self.table, self.settings
        return Trigger(
            at=at,
            moment=table.moment(at),
            start=start,
            direction=int(table.number("market_direction", at)),
            width=table.width(at, settings.episode_minutes),
            days=days,
            score=float(np.log10(days)),
            threshold=float(np.log10(settings.market_move_days)),
            p=table.number("market_p", at),
            tail="market",
        )

    def _shared(self) -> list[Trigger]:
        """Return the quotes with which a flagged move of one coin follows those of others with the market."""
        table = self.table
        recent: list[tuple[int, int, Candidate]] = []
        triggers = []
        for move in sorted(self.moves, key=lambda each: table.moment(each.at)):
            if move.kind not in _SHARED or self._first_scope(move) not in (Scope.MARKET, Scope.MIXED):
                continue
            moment, width = table.moment(move.at), table.width(move.at, self.settings.episode_minutes)
            way = 1 if table.log_move(move.before, move.at) > 0 else -1
            recent = [each for each in recent if moment - each[0] <= width] + [(moment, way, move)]
            same = [(at, each) for at, sign, each in recent if sign == way]
            together = [each for at, each in same if moment - at <= LATER]
            if self._coins(together) >= _TOGETHER or self._coins([each for _, each in same]) >= _FEWEST_COINS:
                triggers.append(self._shared_trigger(way, together, [each for _, each in same]))
        return triggers

    def _first_scope(self, move: Candidate) -> Scope:
        """Return the scope that a move had when it was first flagged: later quotes must not undo an event."""
        if move.end != move.at:
            return market_context(self.table, replace(move, peak=None)).scope
        return move.market.scope if move.market else Scope.UNKNOWN

    def _coins(self, moves: Sequence[Candidate]) -> int:
        return len({self.table.code(each.at) for each in moves})

    def _shared_trigger(self, way: int, together: list[Candidate], same: list[Candidate]) -> Trigger:
        """Return the trigger of moves at one time, or in one hour, with the score of the middle one."""
        table = self.table
        moves = together if self._coins(together) >= _TOGETHER else same
        last, middle = moves[-1], sorted(moves, key=lambda each: each.score - each.threshold)[len(moves) // 2]
        start = sorted(table.moment(each.before) for each in moves)[len(moves) // 2]
        trigger = self._trigger(last.at, start, max(table.number("market_days", last.at), _LEAST_DAYS))
        coins = self._coins(moves)
        return replace(
            trigger, direction=way, score=middle.score, threshold=middle.threshold, p=middle.p, coins=coins
        )

    def _begin(self, trigger: Trigger, start: int) -> str | None:
        """Return the id of the event that begins with a trigger, if enough coins moved the same way, and enough."""
        table, way, moment = self.table, trigger.direction, trigger.moment
        moves = self._moves(start, moment)
        known = np.isfinite(moves.standard)
        same = np.nan_to_num(moves.standard * way) >= MOVED
        enough = max(_FEWEST_COINS, _SAME_WAY * np.count_nonzero(known))
        if np.count_nonzero(same) < enough:
            return None
        # Where enough coins are flagged, each has passed its own floor.
        if trigger.coins < _FEWEST_COINS and not self._is_material(moves, start, moment, way):
            return None
        leader = self._leader(moves, np.where(same, moves.standard * way, 0.0), moment)
        if leader is None:
            return None
        seen = max(int(table.moments[moves.after[same]].max()), moment)
        name = id_of(table, Kind.MARKET_MOVE, int(moves.after[leader]))
        self.begun[name] = _Beginning(leader, moves, seen)
        return name

    def _moves(self, start: int, end: int) -> Moves:
        """Return the coins' moves in the volatility of the last weeks."""
        return moves_between(self.table, start, end, slow_volatility)

    def _is_material(self, moves: Moves, start: int, end: int, way: int) -> bool:
        middle = float(np.median(moves.log_move[np.isfinite(moves.log_move)]))
        return simple_return(middle) * way >= self.materiality.market_floor(end, (end - start) / MINUTE)

    def _leader(self, moves: Moves, sizes: np.ndarray, moment: int) -> int | None:
        """Return the number of the coin that moved most among those quoted just now, on the trigger's day."""
        table = self.table
        day = moment // MICROSECONDS_PER_DAY
        taken = {int(each.moves.after[each.leader]) for each in self.begun.values()}
        for code in np.argsort(-sizes, kind="stable").tolist():
            at = int(moves.after[code])
            quoted = table.moment(at)
            if sizes[code] > 0 and at not in taken and quoted // MICROSECONDS_PER_DAY == day:
                return int(code)
        return None

    def _event(self, episode: Episode) -> MarketEvent:
        """Return the event with its row as known with the last quote of the table."""
        table, beginning = self.table, self.begun[episode.id]
        first, whole = beginning.moves, self._moves(episode.start, episode.peak)
        sizes: dict[str, float] = {}
        for moves in (first, whole):
            for symbol, move in zip(table.symbols, (moves.standard * episode.direction).tolist(), strict=True):
                if move >= MOVED:
                    sizes[symbol] = max(sizes.get(symbol, 0.0), move)
        members = tuple(sorted(sizes, key=lambda symbol: (-sizes[symbol], symbol)))
        known = whole.log_move[np.isfinite(whole.log_move)].tolist()
        standard = whole.known() or first.known()
        at, before = int(first.after[beginning.leader]), int(first.before[beginning.leader])
        peak = max(int(whole.after[beginning.leader]), at)
        rarest = episode.rarest
        market = MarketContext(
            Scope.MARKET,
            median(standard),
            peers_moved=len(members) - 1,
            market_move=simple_return(median(known)) if known else float("nan"),
            coins=len(known),
            seen=beginning.seen,
            span=(episode.start, episode.peak),
        )
        candidate = Candidate(
            Kind.MARKET_MOVE, at, before, rarest.score, rarest.threshold, rarest.p,
            days=rarest.days, tail=rarest.tail, peak=peak, rarest=rarest.at, market=market, event_id=episode.id,
            members=members,
        )
        return MarketEvent(episode, candidate, sizes)
