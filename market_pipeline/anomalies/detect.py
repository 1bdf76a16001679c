"""From scores to anomalies: the rules in their order, and how a day is scored.

A day is always scored from the same quotes, its own and those of the seven days before it of all symbols, with the
calibration that was known when it began, so its rows do not depend on whether it is computed alone, in a range or
again.

A row depends on its quote and on earlier ones, except for what stays open for a while: a bad tick needs the next two
changed quotes; the scope and the coin of a market event the next two minutes; an event, an episode and the members of
both the next 60 minutes; a confirmation up to the first quote after four hours; a gap of up to 70 minutes the next
quote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date

import numpy as np

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.anomalies.anomaly import Anomaly, Kind, Scope
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.parameters import DEFAULT_SETTINGS, DetectionSettings
from market_pipeline.anomalies.rules.anomaly_rows import RowMaker
from market_pipeline.anomalies.rules.bad_ticks import merge_bad_ticks
from market_pipeline.anomalies.rules.candidate import Candidate
from market_pipeline.anomalies.rules.episodes import find_episodes, only_growing
from market_pipeline.anomalies.rules.flags import flag_moves
from market_pipeline.anomalies.rules.links import link_members, link_same_quote
from market_pipeline.anomalies.rules.market_events import MarketEvent, find_market_events
from market_pipeline.anomalies.rules.peers import market_context
from market_pipeline.anomalies.rules.score_table import ScoreTable, group
from market_pipeline.anomalies.rules.stale_feeds import find_stale_feeds
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.clock import DAY, start_of_day, to_microseconds
from market_pipeline.core.columns import Columns, to_datetime64

Calibrations = Callable[[date], Calibration | None]


def detect_days(
    prices: Columns,
    partitions: Iterable[tuple[date, str]],
    calibrations: Calibrations,
    settings: DetectionSettings = DEFAULT_SETTINGS,
) -> list[Anomaly]:
    """Return the anomalies of many (day, symbol) partitions, by symbol, time and kind.

    `prices` has symbol, timestamp and price in time order per symbol, of all symbols (each is compared with the
    others), and should hold the `LEAD_DAYS` days before each day. `calibrations` returns the calibration that was
    known at the start of a day.
    """
    wanted: dict[date, set[str]] = {}
    for day, symbol in partitions:
        wanted.setdefault(day, set()).add(symbol)
    anomalies: list[Anomaly] = []
    for day, symbols in sorted(wanted.items()):
        calibration = calibrations(day)
        start = start_of_day(day)
        window = prices.between(start - LEAD_DAYS * DAY, start + DAY)
        scores = score_columns(window, calibration, large_since=to_datetime64(start - DAY))
        anomalies += _detect(scores, calibration, settings, to_microseconds(start), symbols)
    return sorted(anomalies, key=_order)


def detect_columns(
    scores: Columns, calibration: Calibration | None = None, settings: DetectionSettings = DEFAULT_SETTINGS
) -> list[Anomaly]:
    """Return the flagged rows of one table of `score_columns`, by symbol, time and kind."""
    return _detect(scores, calibration, settings, np.iinfo(np.int64).min, None)


def _detect(
    scores: Columns, calibration: Calibration | None, settings: DetectionSettings, since: int, symbols: set[str] | None
) -> list[Anomaly]:
    """Return the rows of `symbols` from `since` (microseconds) on.

    Earlier quotes count for episodes, events and bad ticks.
    """
    table = group(scores)
    events = find_market_events(table, settings)
    candidates = _candidates(table, events, settings, since)
    spans = {event.candidate.at: event.span(table) for event in events}
    episodes = find_episodes(table, candidates, spans, settings)
    maker = RowMaker(table, calibration, settings, episodes)
    rows = [
        maker.row(candidate)
        for candidate in link_same_quote(table, only_growing(table, candidates, episodes))
        if table.moments[candidate.at] >= since and (symbols is None or table.symbol(candidate.at) in symbols)
    ]
    return sorted(rows, key=_order)


def _candidates(
    table: ScoreTable, events: list[MarketEvent], settings: DetectionSettings, since: int
) -> list[Candidate]:
    """Return all candidates; those before `since` get a market context only if it may refute them."""
    moves = [
        replace(each, market=market_context(table, each))
        if each.kind is Kind.IDIOSYNCRATIC or table.moments[each.at] >= since
        else each
        for each in merge_bad_ticks(table, flag_moves(table, settings), settings)
    ]
    linked = link_members(table, [each for each in moves if not _is_refuted(each)], events, settings)
    return linked + [event.candidate for event in events] + find_stale_feeds(table, settings)


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
