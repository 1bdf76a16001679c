"""From scores to anomalies: the rules in their order, and the one way in which a day is scored.

A day is always scored from the same quotes, its own and those of the seven days before it of all
symbols, with the calibration that was known when it began, so its rows do not depend on whether it is
computed alone, in a range or again.

A row depends on its quote and on earlier ones, but for what stays open for a while: a bad tick needs the
next two changed quotes, the scope and the coin of a market event the next two minutes, an event, an
episode and the members of both the next 60 minutes, a confirmation up to the first quote after four
hours, a gap of up to 70 minutes the next quote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date

import numpy as np

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.anomalies.anomaly import Anomaly, Kind, Scope
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.parameters import DetectionSettings
from market_pipeline.anomalies.rules.anomaly_rows import RowMaker
from market_pipeline.anomalies.rules.bad_ticks import merge_bad_ticks
from market_pipeline.anomalies.rules.candidate import Candidate
from market_pipeline.anomalies.rules.episodes import Span, find_episodes, only_growing
from market_pipeline.anomalies.rules.flags import flag_moves
from market_pipeline.anomalies.rules.links import link_members, link_same_quote
from market_pipeline.anomalies.rules.market_events import MarketEvent, find_market_events
from market_pipeline.anomalies.rules.peers import market_context
from market_pipeline.anomalies.rules.score_table import ScoreTable, group
from market_pipeline.anomalies.rules.stale_feeds import find_stale_feeds
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.anomalies.series import to_datetime64
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.columns import Columns

Calibrations = Callable[[date], Calibration | None]


def detect_columns(
    scores: Columns,
    calibration: Calibration | None = None,
    settings: DetectionSettings = DetectionSettings(),
) -> list[Anomaly]:
    """The flagged rows of one table of `score_columns`, by symbol, time and kind."""
    return _detect(scores, calibration, settings, None, None)


def detect_days(
    prices: Columns,
    partitions: Iterable[tuple[date, str]],
    calibrations: Calibrations,
    settings: DetectionSettings = DetectionSettings(),
) -> list[Anomaly]:
    """The anomalies of many (day, symbol) partitions, by symbol, time and kind.

    `prices` has symbol, timestamp and price in time order per symbol, of all symbols, because they tell
    the market of each other, and should hold the `LEAD_DAYS` days before each day. `calibrations` gives
    the calibration that was known at the start of a day.
    """
    wanted: dict[date, set[str]] = {}
    for day, symbol in partitions:
        wanted.setdefault(day, set()).add(symbol)
    times = prices["timestamp"]
    found: list[Anomaly] = []
    for day, symbols in sorted(wanted.items()):
        calibration = calibrations(day)
        start = start_of_day(day)
        first, end = to_datetime64(start - LEAD_DAYS * DAY), to_datetime64(start + DAY)
        window = prices.where((times >= first) & (times < end))
        scores = score_columns(window, calibration, large_since=to_datetime64(start - DAY))
        found += _detect(scores, calibration, settings, to_datetime64(start), symbols)
    return sorted(found, key=_order)


def _detect(
    scores: Columns,
    calibration: Calibration | None,
    settings: DetectionSettings,
    since: np.datetime64 | None,
    symbols: set[str] | None,
) -> list[Anomaly]:
    """The rows from `since` on of `symbols`; what came before counts for episodes, events and bad ticks."""
    table = group(scores)
    events = find_market_events(table, settings)
    earliest = np.iinfo(np.int64).min if since is None else int(since.astype(np.int64))
    candidates = _candidates(table, events, settings, earliest)
    spans = {
        event.candidate.at: Span(event.first, event.last, int(table.moments[event.peak])) for event in events
    }
    episodes = find_episodes(table, candidates, spans, settings)
    maker = RowMaker(table, calibration, settings, episodes)
    rows = [
        maker.row(candidate)
        for candidate in link_same_quote(table, only_growing(table, candidates, episodes))
        if table.moments[candidate.at] >= earliest and (symbols is None or table.symbol(candidate.at) in symbols)
    ]
    return sorted(rows, key=_order)


def _candidates(
    table: ScoreTable, events: list[MarketEvent], settings: DetectionSettings, earliest: int
) -> list[Candidate]:
    """All candidates; the market is looked at only for those that are told and those that it can refute."""
    moves = merge_bad_ticks(table, flag_moves(table, settings), settings)
    seen = [
        replace(candidate, market=market_context(table, candidate))
        if candidate.kind is Kind.IDIOSYNCRATIC or table.moments[candidate.at] >= earliest
        else candidate
        for candidate in moves
    ]
    linked = link_members(table, [each for each in seen if not _is_the_markets(each)], events, settings)
    return linked + [event.candidate for event in events] + find_stale_feeds(table, settings)


def _is_the_markets(candidate: Candidate) -> bool:
    """Whether a row that was the coin's own by its scores is not so by the quotes that came just after."""
    if candidate.kind is not Kind.IDIOSYNCRATIC or candidate.market is None:
        return False
    return candidate.market.seen > 0 and candidate.market.scope is not Scope.IDIOSYNCRATIC


def _order(anomaly: Anomaly) -> tuple[str, object, str]:
    return anomaly.symbol, anomaly.timestamp, anomaly.kind
