"""The overview picture: one small panel per symbol with its price and its flagged moves.

Matplotlib is imported inside the functions, so that whoever only detects does not pay for it, and
used through its object interface: pyplot keeps global state, which a long-lived server must not grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING

from market_pipeline.anomalies.panel import INK, MARKS, PAPER, draw_panel
from market_pipeline.anomalies.series import to_datetime64
from market_pipeline.anomalies.wording import format_interval
from market_pipeline.storage.columns import Columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 100
# As wide as the dialog in which the Dagster UI shows it.
_WIDTH_INCHES = 9.6
_ROW_INCHES = 2.4
_HEADER_INCHES = 0.7
_MOST_COLUMNS = 2


def draw_overview(
    prices: Columns, anomalies: Columns, symbols: Sequence[str], start: datetime, end: datetime
) -> bytes:
    """A PNG, 960 pixels wide, of the prices of `symbols` from `start` to `end` (aware, both included).

    `prices` has symbol, timestamp and price, in time order per symbol; `anomalies` symbol, timestamp,
    direction and price_after. Other rows and other times are ignored. A symbol without quotes gets a
    panel that says so. Raises ValueError if `symbols` is empty.
    """
    if not symbols:
        raise ValueError("the overview needs at least one symbol to draw")
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(len(symbols), _MOST_COLUMNS)
    rows = -(-len(symbols) // columns)
    figure = Figure(
        figsize=(_WIDTH_INCHES, rows * _ROW_INCHES + _HEADER_INCHES),
        dpi=_DOTS_PER_INCH,
        facecolor=PAPER,
        layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1),
    )
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for symbol, axes in zip(symbols, panels, strict=False):
        quotes, flagged = _rows_of(prices, symbol, start, end), _rows_of(anomalies, symbol, start, end)
        draw_panel(axes, symbol, quotes, flagged, start, end)
    for axes in panels[len(symbols) :]:
        axes.set_axis_off()
    _draw_header(figure, start, end)
    return _to_png(figure)


def _rows_of(rows: Columns, symbol: str, start: datetime, end: datetime) -> Columns:
    times = rows["timestamp"]
    inside = (times >= to_datetime64(start)) & (times <= to_datetime64(end))
    return rows.where((rows["symbol"] == symbol) & inside)


def _draw_header(figure: Figure, start: datetime, end: datetime) -> None:
    """The time span and the key to the marks, above the panels."""
    from matplotlib.lines import Line2D

    key = [
        Line2D([], [], linestyle="", marker=shape, color=colour, markersize=8, label=f"flagged, {direction}")
        for direction, (shape, colour) in MARKS.items()
    ]
    figure.suptitle(
        f"Prices in US dollars, {format_interval(start, end)}", x=0.008, ha="left", fontsize=12, color=INK
    )
    figure.legend(
        handles=key, loc="upper right", ncols=len(key), frameon=False, fontsize=10, labelcolor=INK,
        handletextpad=0.1,
    )


def _to_png(figure: Figure) -> bytes:
    from PIL import Image

    full = BytesIO()
    figure.savefig(full, format="png")
    # A palette makes the file a third of the size; the octree, unlike the median cut, keeps the
    # colours of marks that cover few pixels.
    small = BytesIO()
    picture = Image.open(full).convert("RGB").quantize(method=Image.Quantize.FASTOCTREE)
    picture.save(small, "png", optimize=True)
    return small.getvalue()
