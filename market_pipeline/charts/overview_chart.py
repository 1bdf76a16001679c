"""The overview: a panel per symbol over the same time, its numbers beside it, market events shaded through all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from market_pipeline.anomalies.anomaly import alarm_mask
from market_pipeline.anomalies.words.formatting import format_interval
from market_pipeline.charts.axes import draw_backdrop, names_height, shades_of
from market_pipeline.charts.canvas import OVERVIEW_WIDTH, Box, Canvas, to_webp
from market_pipeline.charts.headline import Headline, change_of_day, headline_of
from market_pipeline.charts.legend import LEGEND_LINE, MARGIN, draw_legend, has_marks
from market_pipeline.charts.marks import SEVERITIES, event_shades
from market_pipeline.charts.panel import draw_panel
from market_pipeline.charts.theme import LIGHT, Theme
from market_pipeline.charts.track import span_of, track_of
from market_pipeline.core.columns import Columns

MOST_PANELS = 8
_NUMBERS = 222
_PRICES = 74
_HEADER = 42
_FOOTER = 30
_SPACE = 8
_LOW = 114
_BIG = 23
# Up to how many panels each is how high.
_HEIGHTS = ((2, 230), (MOST_PANELS, _LOW))


def draw_overview(
    scores: Columns,
    anomalies: Columns,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    changes: Mapping[str, float],
    theme: Theme = LIGHT,
) -> bytes:
    """Draw a WebP, `OVERVIEW_WIDTH` pixels wide, of `symbols` from `start` to `end` (aware UTC).

    `scores` are of `chart_rows.scored_span`, `anomalies` rows of `price_anomalies`; of both only what lies in the span
    is drawn. `changes` are the 24 h changes. A symbol without quotes gets a panel that says so. Raises ValueError if
    `symbols` is empty or has more than `MOST_PANELS`: see `most_alarming`.
    """
    if not 0 < len(symbols) <= MOST_PANELS:
        raise ValueError(f"the overview has 1 to {MOST_PANELS} panels, not {len(symbols)}")
    span = span_of(start, end)
    own = anomalies.where(np.isin(anomalies["symbol"], list(symbols))).between(start, end)
    events = event_shades(anomalies, span)
    tracks = [track_of(scores, symbol, start, end) for symbol in symbols]

    height = next(height for most, height in _HEIGHTS if len(symbols) <= most)
    header = _HEADER + LEGEND_LINE * has_marks(own)
    width = OVERVIEW_WIDTH - _NUMBERS - _PRICES
    names = names_height(events, width, span)
    field = Box(_NUMBERS, header, width, names + len(symbols) * (height + _SPACE) - _SPACE)
    canvas = Canvas(int(field.bottom + _FOOTER), theme, OVERVIEW_WIDTH)
    canvas.text(MARGIN, 11, f"US dollars, {format_interval(start, end)}", 17, fontweight="bold")
    draw_legend(canvas, 12, tracks, own, events)
    draw_backdrop(canvas, field, events, span)
    shades = shades_of(events, width, span)
    for number, track in enumerate(tracks):
        box = Box(field.left, field.top + names + number * (height + _SPACE), field.width, height)
        flagged = own.where(own["symbol"] == track.symbol)
        draw_panel(canvas, box, track, flagged, span, shades)
        words = headline_of(track, flagged, events, change_of_day(changes.get(track.symbol)))
        _draw_numbers(canvas, box, track.symbol, words)
    return to_webp(canvas)


def most_alarming(symbols: Sequence[str], anomalies: Columns) -> list[str]:
    """Return at most `MOST_PANELS` of `symbols` in their order: all, or those with the most severe alarms."""
    alarms = anomalies.where(alarm_mask(anomalies))

    def weight(symbol: str) -> tuple[int, int]:
        severities = alarms["severity"][alarms["symbol"] == symbol]
        return max(map(SEVERITIES.index, severities), default=-1), len(severities)

    chosen = set(sorted(symbols, key=weight, reverse=True)[:MOST_PANELS])
    return [symbol for symbol in symbols if symbol in chosen]


def _draw_numbers(canvas: Canvas, box: Box, symbol: str, words: Headline) -> None:
    """Write the headline at the left of a panel, in the middle of its height."""
    faint, bold = {"color": canvas.theme.faint}, {"fontweight": "bold"}
    lines: list[tuple[str, dict[str, Any]]] = [
        (words.change, {}),
        (words.volatility, faint),
        *([(text, bold) for text in words.alarms] or [("no alarms", faint)]),
    ]
    lines = [(text, looks) for text, looks in lines if text]
    step = 20 if box.height > _LOW else 16
    first = box.top + (box.height - 2 * _BIG - step * len(lines)) / 2
    canvas.text(MARGIN, first, symbol, 19, fontweight="bold")
    canvas.text(MARGIN, first + _BIG, words.price, 16)
    for number, (text, looks) in enumerate(lines):
        canvas.text(MARGIN, first + 2 * _BIG + number * step, text, 13, **looks)
