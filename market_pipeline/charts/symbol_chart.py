"""The chart of one symbol over any time: its price in the expected band, and its volatility below."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

from market_pipeline.anomalies.words.formatting import format_interval
from market_pipeline.charts.axes import draw_backdrop, names_height, shades_of, style_price_axis
from market_pipeline.charts.canvas import WIDTH, Box, Canvas, points
from market_pipeline.charts.headline import Headline, headline_of
from market_pipeline.charts.labels import draw_labels
from market_pipeline.charts.legend import KEY_LINE, MARGIN, draw_key, has_marks
from market_pipeline.charts.marks import event_shades
from market_pipeline.charts.panel import draw_panel, draw_silences
from market_pipeline.charts.theme import Theme
from market_pipeline.charts.track import Track, hours_of, track_of
from market_pipeline.core.columns import Columns, to_datetime64

_HEADER = 74
_PRICE = 400
_SPACE = 34
_VOLATILITY = 96
_FOOTER = 30
_PRICES = 80
# So wide is half of the name of the first tick.
_LEFT = 44
# Two for each pixel: what is dropped would not be seen.
_MOST_QUOTES = 2 * WIDTH


def draw_chart(
    scores: Columns, anomalies: Columns, symbol: str, start: datetime, end: datetime, theme: Theme
) -> Canvas:
    """A picture 1200 pixels wide of `symbol` from `start` to `end` (aware UTC).

    `scores` are those of `scores.scored_span`; `anomalies` are rows of `price_anomalies`, those of the
    symbol and the market moves of all. Only what lies in the span is drawn.
    """
    first, last = hours_of(np.array([to_datetime64(start), to_datetime64(end)]))
    times = hours_of(anomalies["timestamp"])
    own = anomalies.where((anomalies["symbol"] == symbol) & (times >= first) & (times <= last))
    events = [event for event in event_shades(anomalies) if event.last >= first and event.first <= last]
    track = track_of(scores, symbol, start, end)
    drawn = track.thinned(_MOST_QUOTES)

    width = WIDTH - _LEFT - _PRICES
    names = names_height(events, width, (first, last))
    top = _HEADER + KEY_LINE * has_marks(own)
    field = Box(_LEFT, top, width, names + _PRICE + _SPACE + _VOLATILITY)
    canvas = Canvas(int(field.bottom + _FOOTER), theme)
    _draw_title(canvas, symbol, headline_of(track, own, events))
    canvas.text(MARGIN, 45, f"US dollars, {format_interval(start, end)}", 14, color=theme.faint)
    draw_key(canvas, 45, [track], own, events)
    draw_backdrop(canvas, field, events, (first, last))
    shades = shades_of(events, width, (first, last))
    panel = draw_panel(canvas, Box(_LEFT, top + names, width, _PRICE), drawn, own, (first, last), shades)
    draw_labels(canvas, panel, drawn)
    _draw_volatility(canvas, Box(_LEFT, field.bottom - _VOLATILITY, width, _VOLATILITY), drawn, (first, last))
    return canvas


def _draw_title(canvas: Canvas, symbol: str, words: Headline) -> None:
    """The headline as one line."""
    faint = canvas.theme.faint
    parts: list[tuple[str, float, dict[str, Any]]] = [
        (symbol, 24, {"fontweight": "bold"}),
        (words.price, 20, {}),
        (words.change, 16, {}),
        (words.volatility, 16, {"color": faint}),
        *((text, 16, {"fontweight": "bold"}) for text in words.alarms),
    ]
    if not words.alarms:
        parts.append(("no alarms", 16, {"color": faint}))
    left = float(MARGIN)
    for text, size, looks in parts:
        if text:
            drawn = canvas.text(left, 34, text, size, va="baseline", **looks)
            left += drawn.get_window_extent().width + 22


def _draw_volatility(canvas: Canvas, box: Box, track: Track, span: tuple[float, float]) -> None:
    """Volatility in percent a year, from zero, so that twice as high is twice as much."""
    axes = canvas.axes(box)
    axes.set_xlim(*span)
    axes.set_xticks([])
    canvas.text(MARGIN, box.top - 22, "Volatility, % a year", 13, color=canvas.theme.faint)
    known = track.volatility[np.isfinite(track.volatility)]
    if not len(known):
        axes.set_yticks([])
        axes.text(0.5, 0.5, "not known yet", transform=axes.transAxes, ha="center", va="center",
                  color=canvas.theme.faint, fontsize=points(13))  # fmt: skip
        return
    axes.set_ylim(0, 110 * known.max())
    draw_silences(axes, box, track, canvas.theme)
    axes.plot(
        track.broken(track.hours), track.broken(100 * track.volatility), color=canvas.theme.line,
        linewidth=1.2, zorder=3,
    )  # fmt: skip
    style_price_axis(axes, canvas.theme, 3)
