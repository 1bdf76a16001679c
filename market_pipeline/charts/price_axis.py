"""The price axis: round prices with the digits that tell neighbours apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from market_pipeline.charts.theme import Theme


def style_price_axis(axes: Axes, theme: Theme, most: int) -> None:
    """Round prices, at most about `most`, named on the right, with faint lines across."""
    from matplotlib.ticker import MaxNLocator

    low, high = axes.get_ylim()
    places = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    shown = [float(place) for place in places if low <= place <= high]
    axes.yaxis.tick_right()
    axes.set_yticks(shown, tick_names(shown))
    axes.grid(axis="y", color=theme.grid, linewidth=0.8, zorder=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0, labelright=True, labelleft=False)


def tick_names(values: Sequence[float]) -> list[str]:
    """Numbers of the price axis, all with the decimals that tell neighbours apart."""
    texts = [f"{value:.6g}" for value in values]
    if 1e6 <= max(values, default=0.0) < 1e9:
        texts = [f"{value:.0f}" for value in values]
    if any("e" in text for text in texts):
        return texts
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [f"{value:,.{decimals}f}" for value in values]
