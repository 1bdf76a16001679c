"""From scores to anomalies: the rules in their order, and how a day is scored.

A day is always scored from the same quotes, its own, those of the seven days before it and those of the next morning,
of all symbols, with the calibration that was known when it began. So its rows do not depend on whether it is computed
alone, in a range or again.

A row depends on its quote and on earlier ones, except for what stays open: docs/anomalies.md lists it. Later quotes
never add or remove a row's reason to be flagged.

Midnight: an event or an episode belongs to the day of its first quote. What is flagged soon after midnight is therefore
compared with what yesterday's scoring, with yesterday's calibration, says was open; only then is it computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property

import numpy as np

from market_pipeline.anomalies import LEAD_DAYS, MORNING
from market_pipeline.anomalies.anomaly import Anomaly, Kind, Scope
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.parameters import DEFAULT_SETTINGS, DetectionSettings
from market_pipeline.anomalies.rules.anomaly_rows import RowMaker
from market_pipeline.anomalies.rules.bad_ticks import merge_bad_ticks
from market_pipeline.anomalies.rules.candidate import Candidate, id_of
from market_pipeline.anomalies.rules.coin_episodes import CoinEpisodes
from market_pipeline.anomalies.rules.episodes import Border, Episode
from market_pipeline.anomalies.rules.flags import flag_moves
from market_pipeline.anomalies.rules.links import link_members
from market_pipeline.anomalies.rules.market_events import EventFinder, MarketEvent
from market_pipeline.anomalies.rules.peers import market_context
from market_pipeline.anomalies.rules.score_table import MINUTE, Positions, ScoreTable, group
from market_pipeline.anomalies.rules.severity import Materiality
from market_pipeline.anomalies.rules.stale_feeds import find_stale_feeds
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.clock import DAY, MICROSECOND, start_of_day, to_microseconds
from market_pipeline.core.columns import Columns, to_datetime64

Calibrations = Callable[[date], Calibration | None]

# A bad print just before midnight explains its way back just after it.
_PRINTS = 60 * MINUTE
# Bad prints of so long before are left out of the paths of prices.
_LONGEST = 1_440 * MINUTE
_EVER = np.iinfo(np.int64).max


def detect_days(
    prices: Columns,
    partitions: Iterable[tuple[date, str]],
    calibrations: Calibrations,
    settings: DetectionSettings = DEFAULT_SETTINGS,
) -> list[Anomaly]:
    """Return the anomalies of many (day, symbol) partitions, by symbol, time and kind.

    `prices` has symbol, timestamp and price in time order per symbol, of all symbols (each is compared with the
    others), and should hold the `PAST_DAYS` days before each day and the `MORNING` after it. `calibrations` returns the
    calibration that was known at the start of a day; it is also asked for the day before.
    """
    wanted: dict[date, set[str]] = {}
    for day, symbol in partitions:
        wanted.setdefault(day, set()).add(symbol)
    anomalies: list[Anomaly] = []
    scored: ScoredDay | None = None
    for day, symbols in sorted(wanted.items()):
        before = scored if scored is not None and scored.day == day - DAY else None
        scored = ScoredDay(prices, day, calibrations, settings, before)
        anomalies += scored.rows(symbols)
        # Two days back are not needed any more.
        scored.before = None
    return sorted(anomalies, key=_order)


def detect_columns(
    scores: Columns, calibration: Calibration | None = None, settings: DetectionSettings = DEFAULT_SETTINGS
) -> list[Anomaly]:
    """Return the flagged rows of one table of `score_columns`, by symbol, time and kind."""
    found = Detection(group(scores), calibration, settings, Border(-_EVER, -_EVER), _EVER, Evening)
    return sorted(found.rows(None), key=_order)


@dataclass
class Evening:
    """What is known of a day when the next one begins: its last event and episode of each direction.

    Only those that are the same whatever happened on the day before it.
    """

    events: list[MarketEvent] = field(default_factory=list)
    large: dict[tuple[str, int], Episode] = field(default_factory=dict)
    alarms: dict[tuple[str, int], Episode] = field(default_factory=dict)
    prints: frozenset[str] = frozenset()

    def event(self, way: int) -> MarketEvent | None:
        """Return the last event of a direction."""
        return next((event for event in reversed(self.events) if event.episode.direction == way), None)


@dataclass
class ScoredDay:
    """One day's scores; `before` is the day before, if that is scored already."""

    prices: Columns
    day: date
    calibrations: Calibrations
    settings: DetectionSettings
    before: ScoredDay | None = None

    def rows(self, symbols: set[str]) -> list[Anomaly]:
        """Return the day's rows of some symbols."""
        return self._detection(self._yesterday).rows(symbols)

    def evening(self) -> Evening:
        """Return what the next day must know of this one."""
        return self._detection(Evening).evening()

    def _yesterday(self) -> Evening:
        day = self.before or ScoredDay(self.prices, self.day - DAY, self.calibrations, self.settings)
        return day.evening()

    @cached_property
    def _calibration(self) -> Calibration | None:
        return self.calibrations(self.day)

    @cached_property
    def _table(self) -> ScoreTable:
        start = start_of_day(self.day)
        window = self.prices.between(start - LEAD_DAYS * DAY, start + DAY + MORNING + MICROSECOND)
        return group(score_columns(window, self._calibration, large_since=to_datetime64(self._large_since)))

    @property
    def _large_since(self) -> datetime:
        """The time from which large moves are scored: also those that the calibration does not remember yet.

        It was made on the day before its as-of time, of which it knows little.
        """
        start = start_of_day(self.day)
        return min(start, self._calibration.as_of) - DAY if self._calibration else start

    def _detection(self, yesterday: Callable[[], Evening]) -> Detection:
        start = start_of_day(self.day)
        border = Border(to_microseconds(start), to_microseconds(start + MORNING))
        end = to_microseconds(start + DAY)
        return Detection(self._table, self._calibration, self.settings, border, end, yesterday)


@dataclass
class Detection:
    """The rules, applied to the quotes of one table from a border on.

    Its rows are those before `end` (microseconds). `yesterday` is called only if needed.
    """

    table: ScoreTable
    calibration: Calibration | None
    settings: DetectionSettings
    border: Border
    end: int
    yesterday: Callable[[], Evening]

    @cached_property
    def _past(self) -> Evening:
        return self.yesterday()

    @cached_property
    def _coins(self) -> CoinEpisodes:
        return CoinEpisodes(self.table, self.settings, self._materiality, self.border, self._misprints)

    @cached_property
    def _materiality(self) -> Materiality:
        return Materiality(self.table, self.calibration, self.settings)

    @cached_property
    def _merged(self) -> list[Candidate]:
        """All flagged quotes, also those of the day before, with bad ticks in place of what they explain."""
        since = max(self.border.since - _LONGEST, -_EVER)
        flagged = flag_moves(self.table, self.settings, self._materiality, since)
        return merge_bad_ticks(self.table, flagged, self.settings)

    @cached_property
    def _misprints(self) -> Positions:
        """The positions of bad prints."""
        ticks = [each for each in self._merged if each.kind is Kind.BAD_TICK]
        return np.array([at for each in ticks for at in range(each.at, each.until or each.at)], dtype=np.int64)

    @cached_property
    def _found(self) -> tuple[list[MarketEvent], list[Candidate]]:
        """The market events and all other candidates from the border on, linked."""
        table, since = self.table, self.border.since
        own = [self._known_print(each) for each in self._merged if table.moment(each.at) >= since]
        moves = self._coins.large_moves(own, lambda code, way: self._carried("large", code, way))
        moves = [replace(each, market=market_context(table, each)) for each in moves]
        moves = [each for each in moves if not _is_refuted(each)]
        finder = EventFinder(table, moves, self.settings, self._materiality, self.border)
        events = finder.find(self._carried_event)
        own_events = [event for event in events if event.episode.first < self.end]
        linked = link_members(table, moves, [*self._open_events(moves), *own_events], self.settings)
        alarms = self._coins.alarms(linked, lambda code, way: self._carried("alarms", code, way))
        stale = [each for each in find_stale_feeds(table, self.settings) if table.moment(each.at) >= since]
        return events, alarms + stale

    def _known_print(self, candidate: Candidate) -> Candidate:
        """Drop the link of a leg to a bad print of yesterday, unless yesterday's scoring knows it."""
        if candidate.kind is not Kind.USER_THRESHOLD or candidate.event_id is None:
            return candidate
        if self.table.moment(candidate.at) - self.border.since > _PRINTS:
            return candidate
        own = {
            id_of(self.table, Kind.BAD_TICK, at) for at in range(max(candidate.at - 3, 0), candidate.at + 1)
            if self.table.moment(at) >= self.border.since
        }
        return candidate if candidate.event_id in own | self._past.prints else replace(candidate, event_id=None)

    def _carried(self, which: str, code: int, way: int) -> Episode | None:
        episodes: dict[tuple[str, int], Episode] = getattr(self._past, which)
        return episodes.get((self.table.symbols[code], way))

    def _carried_event(self, way: int) -> Episode | None:
        event = self._past.event(way)
        return event.episode if event else None

    def _open_events(self, moves: list[Candidate]) -> list[MarketEvent]:
        """Return yesterday's events that may have members among `moves`."""
        early = [each for each in moves if self.table.moment(each.before) - self.border.since <= _PRINTS]
        return self._past.events if early else []

    def rows(self, symbols: set[str] | None) -> list[Anomaly]:
        """Return the rows of `symbols`, by default of all."""
        events, candidates = self._found
        spans = {event.episode.id: event.episode for event in [*events, *self._known_events()]}
        maker = RowMaker(self.table, self.calibration, self.settings, self._coins.alarm_of, spans)
        return [
            maker.row(each)
            for each in [*candidates, *(event.candidate for event in events)]
            if self.table.moment(each.at) < self.end and (symbols is None or self.table.symbol(each.at) in symbols)
        ]

    def _known_events(self) -> list[MarketEvent]:
        return self._past.events if "_past" in self.__dict__ else []

    def evening(self) -> Evening:
        """Return what the next day must know."""
        events, candidates = self._found
        table = self.table
        known = [event for event in events if event.episode.settled and event.episode.first < self.end]
        large: dict[tuple[str, int], Episode] = {}
        alarms: dict[tuple[str, int], Episode] = {}
        for each in sorted(candidates, key=lambda each: table.moment(each.at)):
            for episodes, kept in ((self._coins.alarm_of, alarms), (self._coins.large_of, large)):
                episode = episodes.get((each.kind, each.at))
                if episode is not None and episode.settled and episode.first < self.end:
                    kept[table.symbol(each.at), episode.direction] = episode
        for event in known:
            event.episode.closed = True
        for episode in [*large.values(), *alarms.values()]:
            episode.closed = True
        prints = frozenset(id_of(table, each.kind, each.at) for each in candidates if each.kind is Kind.BAD_TICK)
        return Evening(known, large, alarms, prints)


def _is_refuted(candidate: Candidate) -> bool:
    """Return whether an idiosyncratic move is not known to be the coin's own, as of the quotes just after it.

    The first coin of a collection sees no others, so its residual is its whole move.
    """
    if candidate.kind is not Kind.IDIOSYNCRATIC or candidate.market is None:
        return False
    scope, seen_later = candidate.market.scope, candidate.market.seen > 0
    return scope is Scope.UNKNOWN or (seen_later and scope is not Scope.IDIOSYNCRATIC)


def _order(anomaly: Anomaly) -> tuple[str, object, str]:
    return anomaly.symbol, anomaly.timestamp, anomaly.kind
