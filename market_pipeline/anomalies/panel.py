"""One panel of the overview: the price of one symbol as a line, its flagged moves as marks.

Matplotlib is imported inside the functions, as in `chart`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.series import to_datetime64
from market_pipeline.anomalies.wording import format_price
from market_pipeline.storage.columns import Columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TICK_HOURS = (1, 3, 6, 12, 24)

PAPER = "#ffffff"
INK = "#1f2933"
_FAINT = "#5b6876"
_GRID = "#e4e8ec"
_LINE = "#33658a"
MARKS = {"up": ("^", "#16803c"), "down": ("v", "#c62828")}


def draw_panel(
    axes: Axes, symbol: str, quotes: Columns, flagged: Columns, start: datetime, end: datetime
) -> None:
    """Draw `quotes` (timestamp, price) and `flagged` (timestamp, direction, price_after) of `symbol`.

    The time axis runs from `start` to `end` (aware) in UTC. Without quotes the panel says so.
    """
    _draw_prices(axes, symbol, quotes, flagged)
    _style(axes)
    _draw_time_axis(axes, start, end)


def _draw_prices(axes: Axes, symbol: str, quotes: Columns, flagged: Columns) -> None:
    axes.set_title(symbol, loc="left", fontsize=12, fontweight="bold", color=INK, parse_math=False)
    if not len(quotes):
        axes.text(0.5, 0.5, "no quotes yet", transform=axes.transAxes, ha="center", va="center", color=_FAINT)
        axes.set_yticks([])
        return
    axes.set_title(_headline(quotes), loc="right", fontsize=11, color=INK, parse_math=False)
    # A line through a single quote would be invisible.
    marker = "." if len(quotes) == 1 else None
    axes.plot(_hours(quotes["timestamp"]), quotes["price"], color=_LINE, linewidth=1.3, marker=marker)
    for direction, (shape, colour) in MARKS.items():
        points = flagged.where(flagged["direction"] == direction)
        axes.scatter(
            _hours(points["timestamp"]), points["price_after"], marker=shape, color=colour,
            s=60, edgecolors=PAPER, linewidths=0.8, zorder=3, clip_on=False,
        )


def _headline(quotes: Columns) -> str:
    """The last price and its change over the quotes drawn, which may be fewer hours than asked for."""
    price, times = quotes["price"], quotes["timestamp"]
    hours = round((times[-1] - times[0]) / np.timedelta64(1, "h"))
    if hours < 1:
        return format_price(price[-1])
    return f"{format_price(price[-1])}   {(price[-1] / price[0] - 1) * 100:+.2f} % in {hours} h"


def _style(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.set_facecolor(PAPER)
    if axes.lines:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
        low, high = axes.get_ylim()
        if 1e-4 < low and high < 1e6:
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.6g}"))
    axes.margins(y=0.12)
    axes.tick_params(colors=_FAINT, labelsize=9, length=0)
    axes.grid(color=_GRID, linewidth=0.8)
    for side in axes.spines.values():
        side.set_visible(False)


def _draw_time_axis(axes: Axes, start: datetime, end: datetime) -> None:
    first, last = _hours(np.array([to_datetime64(start), to_datetime64(end)]))
    step = next((hours for hours in _TICK_HOURS if (last - first) / hours <= 5), _TICK_HOURS[-1])
    ticks = np.arange(np.ceil(first / step), np.floor(last / step) + 1) * step
    axes.set_xlim(first, last)
    axes.set_xticks(ticks, [f"{hours % 24:02.0f}:00" for hours in ticks])


def _hours(times: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """`times` as hours since 1970, so that a multiple of 24 is midnight UTC."""
    hours: NDArray[np.float64] = (times - np.datetime64(0, "us")) / np.timedelta64(1, "h")
    return hours
