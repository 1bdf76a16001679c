"""The chart of one symbol over any time: its price in the expected band, and its volatility below."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

from market_pipeline.anomalies.words.formatting import format_interval
from market_pipeline.charts.axes import draw_backdrop, names_height, shades_of, style_price_axis
from market_pipeline.charts.canvas import WIDTH, Box, Canvas, points
from market_pipeline.charts.headline import Headline, change_drawn, headline_of
from market_pipeline.charts.labels import draw_labels
from market_pipeline.charts.legend import LEGEND_LINE, MARGIN, draw_legend, has_marks
from market_pipeline.charts.marks import event_shades
from market_pipeline.charts.panel import draw_line, draw_panel, draw_silences
from market_pipeline.charts.theme import Theme
from market_pipeline.charts.track import Span, Track, span_of, track_of
from market_pipeline.core.columns import Columns

_HEADER = 74
_PRICE = 400
_SPACE = 34
_VOLATILITY = 96
_FOOTER = 30
_PRICES = 80
# Half of the width of the first tick's label.
_LEFT = 44
# Two for each pixel; more would not be visible.
_MOST_QUOTES = 2 * WIDTH


def draw_chart(
    scores: Columns, anomalies: Columns, symbol: str, start: datetime, end: datetime, theme: Theme
) -> Canvas:
    """Draw `symbol` from `start` to `end` (aware UTC), 1200 pixels wide.

    `scores` are of `chart_rows.scored_span`; `anomalies` are rows of `price_anomalies`: those of the symbol, and the
    market moves of all. Only what lies in the span is drawn.
    """
    span = span_of(start, end)
    own = anomalies.where(anomalies["symbol"] == symbol).between(start, end)
    events = event_shades(anomalies, span)
    track = track_of(scores, symbol, start, end)
    drawn = track.thinned(_MOST_QUOTES)

    width = WIDTH - _LEFT - _PRICES
    names = names_height(events, width, span)
    top = _HEADER + LEGEND_LINE * has_marks(own)
    field = Box(_LEFT, top, width, names + _PRICE + _SPACE + _VOLATILITY)
    canvas = Canvas(int(field.bottom + _FOOTER), theme)
    _draw_title(canvas, symbol, headline_of(track, own, events, change_drawn(track)))
    canvas.text(MARGIN, 45, f"US dollars, {format_interval(start, end)}", 14, color=theme.faint)
    draw_legend(canvas, 45, [track], own, events)
    draw_backdrop(canvas, field, events, span)
    box = Box(_LEFT, top + names, width, _PRICE)
    panel = draw_panel(canvas, box, drawn, own, span, shades_of(events, width, span))
    draw_labels(canvas, panel, drawn)
    _draw_volatility(canvas, Box(_LEFT, field.bottom - _VOLATILITY, width, _VOLATILITY), drawn, span)
    return canvas


def _draw_title(canvas: Canvas, symbol: str, words: Headline) -> None:
    """Write the headline as one line."""
    faint, bold = {"color": canvas.theme.faint}, {"fontweight": "bold"}
    parts: list[tuple[str, float, dict[str, Any]]] = [
        (symbol, 24, bold),
        (words.price, 20, {}),
        (words.change, 16, {}),
        (words.volatility, 16, faint),
        *([(text, 16, bold) for text in words.alarms] or [("no alarms", 16, faint)]),
    ]
    left = float(MARGIN)
    for text, size, looks in parts:
        if text:
            drawn = canvas.text(left, 34, text, size, va="baseline", **looks)
            left += drawn.get_window_extent().width + 22


def _draw_volatility(canvas: Canvas, box: Box, track: Track, span: Span) -> None:
    """Draw volatility in percent a year, from zero."""
    axes = canvas.axes(box)
    axes.set_xlim(*span)
    axes.set_xticks([])
    faint = canvas.theme.faint
    canvas.text(MARGIN, box.top - 22, "Volatility, % a year", 13, color=faint)
    known = track.volatility[np.isfinite(track.volatility)]
    if not len(known):
        axes.set_yticks([])
        looks: dict[str, Any] = {"ha": "center", "va": "center", "color": faint, "fontsize": points(13)}
        axes.text(0.5, 0.5, "not known yet", transform=axes.transAxes, **looks)
        return
    axes.set_ylim(0, 110 * known.max())
    draw_silences(axes, box, track, canvas.theme)
    draw_line(axes, track, 100 * track.volatility, canvas.theme)
    style_price_axis(axes, canvas.theme, 3)
