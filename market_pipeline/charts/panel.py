"""One panel: the price of one symbol in its expected band, silences, and what was flagged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from market_pipeline.charts.axes import style_price_axis
from market_pipeline.charts.canvas import EVENT_TINT, Box, Canvas, points
from market_pipeline.charts.marks import SIZES, Spot, dot_looks, mark_looks, marks_and_dots, spread
from market_pipeline.charts.track import Floats, Span, Track, days_of
from market_pipeline.core.columns import Columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from market_pipeline.charts.theme import Theme

_MARGIN = 0.1
# These quantiles of the band's edges are in the picture: after an outage it may be wider than the day.
_OF_THE_BAND = (0.05, 0.95)
# As wide as the words in it.
_NAMED_SILENCE = 90


@dataclass(frozen=True)
class Panel:
    """A drawn panel; `marks` (rows of `price_anomalies`) are at `spots`, in pixels from its lower left."""

    axes: Axes
    box: Box
    marks: Columns
    spots: list[Spot]

    def pixels(self, days: Floats, prices: Floats) -> Floats:
        """Return points (rows of x, y) in pixels from the lower left of the panel."""
        return _pixels(self.axes, self.box, days, prices)


def draw_panel(canvas: Canvas, box: Box, track: Track, flagged: Columns, span: Span, shades: Sequence[Span]) -> Panel:
    """Draw `track` and the rows `flagged` of its symbol into `box`.

    `span` and each of `shades`, which tint the band, are in days since 1970, UTC. `flagged` has the columns of
    `price_anomalies`. Without quotes the panel is one silence.
    """
    axes = canvas.axes(box)
    axes.set_xlim(*span)
    axes.set_xticks([])
    if not len(track):
        axes.set_yticks([])
        draw_silences(axes, box, track, canvas.theme)
        return Panel(axes, box, flagged.where(np.zeros(len(flagged), dtype=np.bool_)), [])
    axes.set_ylim(*price_range(track))
    _draw_band(axes, track, canvas.theme)
    for shade in shades:
        axes.axvspan(*shade, color=canvas.theme.event, alpha=EVENT_TINT, linewidth=0, zorder=2)
    draw_silences(axes, box, track, canvas.theme)
    draw_line(axes, track, track.prices, canvas.theme)
    style_price_axis(axes, canvas.theme, 4 if box.height < 250 else 7)
    return Panel(axes, box, *_draw_flagged(axes, box, track, flagged, canvas.theme))


def price_range(track: Track) -> Span:
    """Return the lowest and highest price of the panel: every price, nearly all of the band, a margin."""
    shown = [track.prices]
    lower, upper = track.band(3)
    if np.isfinite(lower).any():
        shown.append(np.array([np.nanquantile(lower, _OF_THE_BAND[0]), np.nanquantile(upper, _OF_THE_BAND[1])]))
    values = np.concatenate(shown)
    low, high = float(values.min()), float(values.max())
    margin = (high - low) * _MARGIN or high * 0.01
    return low - margin, high + margin


def _draw_band(axes: Axes, track: Track, theme: Theme) -> None:
    days = track.broken(track.days)
    for sigmas, colour in ((3, theme.three_sigma), (1, theme.one_sigma)):
        lower, upper = (track.broken(edge) for edge in track.band(sigmas))
        known = np.isfinite(lower) & np.isfinite(upper)
        looks: dict[str, Any] = {"color": colour, "linewidth": 0, "antialiased": False, "zorder": 1 + 0.1 / sigmas}
        axes.fill_between(days, lower, upper, where=known, **looks)


def draw_silences(axes: Axes, box: Box, track: Track, theme: Theme) -> None:
    """Hatch where there are no quotes, with words where there is room for them."""
    first, last = axes.get_xlim()
    looks: dict[str, Any] = {"edgecolor": theme.silence, "hatch": "////", "linewidth": 0, "alpha": 0.45, "zorder": 0.9}
    for start, end in track.silences:
        axes.axvspan(start, end, facecolor="none", **looks)
        if (end - start) / (last - first) * box.width > _NAMED_SILENCE:
            axes.text(
                (start + end) / 2,
                0.5,
                "no quotes",
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="center",
                color=theme.faint,
                fontsize=points(13),
                clip_on=True,
                bbox={"facecolor": theme.paper, "edgecolor": "none", "pad": 2},
            )


def draw_line(axes: Axes, track: Track, values: Floats, theme: Theme) -> None:
    """Draw `values` of the quotes as a line broken at silences, lone quotes as dots."""
    days = track.broken(track.days)
    axes.plot(days, track.broken(values), color=theme.line, linewidth=1.2, solid_joinstyle="round", zorder=3)
    _, where, count = np.unique(track.stretch, return_index=True, return_counts=True)
    alone = where[count == 1]
    looks: dict[str, Any] = {"linestyle": "", "marker": ".", "color": theme.line, "markersize": points(6), "zorder": 3}
    axes.plot(track.days[alone], values[alone], **looks)


def _draw_flagged(
    axes: Axes, box: Box, track: Track, flagged: Columns, theme: Theme
) -> tuple[Columns, list[Spot]]:
    """Draw each flagged row on the line at its time, as the page does.

    That is when it was first flagged. An episode peaks later, perhaps by hours: `price_after` is not of this time.
    """
    marks, dots = marks_and_dots(flagged)
    days = days_of(dots["timestamp"])
    for when, price, kind in zip(days, track.line_at(days), dots["kind"], strict=True):
        axes.plot(when, price, zorder=4, **dot_looks(theme.kinds[kind], theme))
    days = days_of(marks["timestamp"])
    places = _pixels(axes, box, days, track.line_at(days)).tolist()
    wanted = [Spot(x, y, SIZES[severity]) for (x, y), severity in zip(places, marks["severity"], strict=True)]
    spots = spread(wanted, [direction != "down" for direction in marks["direction"]], box.height)
    low, high = axes.get_ylim()
    for when, spot, kind, severity in zip(days, spots, marks["kind"], marks["severity"], strict=True):
        price = low + spot.y / box.height * (high - low)
        axes.plot(when, price, clip_on=False, zorder=6, **mark_looks(kind, severity, theme))
    return marks, spots


def _pixels(axes: Axes, box: Box, days: Floats, prices: Floats) -> Floats:
    (first, last), (low, high) = axes.get_xlim(), axes.get_ylim()
    x, y = (days - first) / (last - first) * box.width, (prices - low) / (high - low) * box.height
    return np.column_stack([x, y])
