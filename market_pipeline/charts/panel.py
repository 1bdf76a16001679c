"""One panel: the price of one symbol in its expected band, silences, and what was flagged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.charts.axes import style_price_axis
from market_pipeline.charts.canvas import EVENT_TINT, Box, Canvas, points
from market_pipeline.charts.marks import SIZES, Spot, dot_looks, looks, marks_and_dots, spread
from market_pipeline.charts.track import Track, hours_of
from market_pipeline.core.columns import Columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from market_pipeline.charts.theme import Theme


_MARGIN = 0.1
# So much of the band's edges is sure to be in the picture: after an outage it may be wider than the day.
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


def draw_panel(
    canvas: Canvas,
    box: Box,
    track: Track,
    flagged: Columns,
    span: tuple[float, float],
    shades: Sequence[tuple[float, float]],
) -> Panel:
    """Draw `track` and the rows `flagged` of its symbol into `box`.

    `span` and each of `shades`, which tint the band, are in hours since 1970, UTC. `flagged` has the
    columns of `price_anomalies`. Without quotes the panel is one silence.
    """
    axes = canvas.axes(box)
    axes.set_xlim(*span)
    axes.set_xticks([])
    if not len(track):
        axes.set_yticks([])
        draw_silences(axes, box, track, canvas.theme)
        return Panel(axes, box, flagged.where(np.zeros(len(flagged), dtype=np.bool_)), [])
    axes.set_ylim(*price_range(track, flagged))
    _draw_band(axes, track, canvas.theme)
    for shade in shades:
        axes.axvspan(*shade, color=canvas.theme.event, alpha=EVENT_TINT, linewidth=0, zorder=2)
    draw_silences(axes, box, track, canvas.theme)
    _draw_line(axes, track, canvas.theme)
    style_price_axis(axes, canvas.theme, 4 if box.height < 250 else 7)
    return Panel(axes, box, *_draw_flagged(axes, box, flagged, canvas.theme))


def price_range(track: Track, flagged: Columns) -> tuple[float, float]:
    """Lowest and highest price of the panel: every price and mark, nearly all of the band, some air."""
    lower, upper = track.band(3)
    own = flagged.where(flagged["kind"] != Kind.MARKET_MOVE.value)
    shown = [track.prices, own["price_after"]]
    if np.isfinite(lower).any():
        shown += [
            np.atleast_1d(np.nanquantile(lower, _OF_THE_BAND[0])),
            np.atleast_1d(np.nanquantile(upper, _OF_THE_BAND[1])),
        ]
    values = np.concatenate(shown)
    low, high = float(values.min()), float(values.max())
    air = (high - low) * _MARGIN or high * 0.01
    return low - air, high + air


def _draw_band(axes: Axes, track: Track, theme: Theme) -> None:
    hours = track.broken(track.hours)
    for sigmas, colour in ((3, theme.three_sigma), (1, theme.one_sigma)):
        lower, upper = (track.broken(edge) for edge in track.band(sigmas))
        axes.fill_between(
            hours, lower, upper, where=np.isfinite(lower) & np.isfinite(upper), color=colour, linewidth=0,
            antialiased=False, zorder=1 + 0.1 / sigmas,
        )  # fmt: skip


def draw_silences(axes: Axes, box: Box, track: Track, theme: Theme) -> None:
    """Hatch where there are no quotes, with words where there is room for them."""
    first, last = axes.get_xlim()
    for start, end in track.silences:
        axes.axvspan(
            start, end, facecolor="none", edgecolor=theme.silence, hatch="////", linewidth=0, alpha=0.45,
            zorder=0.9,
        )  # fmt: skip
        if (end - start) / (last - first) * box.width > _NAMED_SILENCE:
            axes.text(
                (start + end) / 2, 0.5, "no quotes", transform=axes.get_xaxis_transform(), ha="center",
                va="center", color=theme.faint, fontsize=points(13), clip_on=True,
                bbox={"facecolor": theme.paper, "edgecolor": "none", "pad": 2},
            )  # fmt: skip


def _draw_line(axes: Axes, track: Track, theme: Theme) -> None:
    axes.plot(
        track.broken(track.hours), track.broken(track.prices), color=theme.line, linewidth=1.2,
        solid_joinstyle="round", zorder=3,
    )  # fmt: skip
    # A line through a single quote would be invisible.
    _, where, count = np.unique(track.stretch, return_index=True, return_counts=True)
    alone = where[count == 1]
    axes.plot(
        track.hours[alone], track.prices[alone], linestyle="", marker=".", color=theme.line,
        markersize=points(6), zorder=3,
    )  # fmt: skip


def _draw_flagged(axes: Axes, box: Box, flagged: Columns, theme: Theme) -> tuple[Columns, list[Spot]]:
    marks, dots = marks_and_dots(flagged)
    for when, price, kind in zip(hours_of(dots["timestamp"]), dots["price_after"], dots["kind"]):
        axes.plot(when, price, zorder=4, **dot_looks(theme.kinds[kind], theme))
    (first, last), (low, high) = axes.get_xlim(), axes.get_ylim()
    hours = hours_of(marks["timestamp"])
    x = (hours - first) / (last - first) * box.width
    y = (marks["price_after"] - low) / (high - low) * box.height
    sizes = [SIZES[severity] for severity in marks["severity"]]
    wanted = [Spot(*at) for at in zip(x.tolist(), y.tolist(), sizes)]
    spots = spread(wanted, [direction != "down" for direction in marks["direction"]], box.height)
    for when, spot, kind, severity in zip(hours, spots, marks["kind"], marks["severity"]):
        axes.plot(
            when, low + spot.y / box.height * (high - low), clip_on=False,
            zorder=6, **looks(kind, severity, theme),
        )  # fmt: skip
    return marks, spots
