"""A picture laid out in pixels from its upper left corner, and the files it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from market_pipeline.charts.theme import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from PIL.Image import Image

WIDTH = 1200
# Fits into the dialog of the Dagster UI on a screen of 1280 pixels.
OVERVIEW_WIDTH = 980
# Opacity of an event's shade on the band: visible, and the band remains a band.
EVENT_TINT = 0.25
_DOTS_PER_INCH = 100


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; `top` is counted from the upper edge of the picture."""

    left: float
    top: float
    width: float
    height: float

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.top + self.height


class Canvas:
    """A figure `width` pixels wide and `height` high, in the colours of `theme`."""

    def __init__(self, height: int, theme: Theme, width: int = WIDTH) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.height = height
        self.width = width
        self.theme = theme
        size = (width / _DOTS_PER_INCH, height / _DOTS_PER_INCH)
        self.figure: Figure = Figure(figsize=size, dpi=_DOTS_PER_INCH, facecolor=theme.paper)
        FigureCanvasAgg(self.figure)

    def axes(self, box: Box) -> Axes:
        """Add transparent axes without frame or ticks that fill `box`."""
        axes: Axes = self.figure.add_axes(
            (box.left / self.width, 1 - box.bottom / self.height, box.width / self.width, box.height / self.height)
        )
        axes.set_facecolor("none")
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(length=0, labelsize=points(13), colors=self.theme.faint, labelbottom=False, labelleft=False)
        return axes

    def text(self, left: float, top: float, words: str, size: float, **looks: Any) -> Text:
        """Write `words` verbatim, their upper left corner at the given pixels, `size` pixels high."""
        looks = {"color": self.theme.ink, "va": "top", **looks}
        return self.figure.text(
            left / self.width, 1 - top / self.height, words, fontsize=points(size), parse_math=False, **looks
        )


def points(pixels: float) -> float:
    """Return a length in pixels in Matplotlib's unit of sizes."""
    return pixels * 72 / _DOTS_PER_INCH


def palette(theme: Theme) -> list[tuple[int, ...]]:
    """Return the colours of `theme`, then blends of those that meet at an edge; at most 256."""
    import numpy as np
    from PIL.ImageColor import getrgb

    bands = [theme.one_sigma, theme.three_sigma]
    grounds = [theme.paper, *bands, theme.event]
    marks = [theme.ink, theme.faint, theme.line, theme.silence, theme.event_ink, *theme.kinds.values()]
    pairs = [(mark, ground, 0.5) for mark in marks for ground in grounds]
    pairs += [(letters, theme.paper, share) for letters in marks[:3] for share in (0.25, 0.75)]
    pairs += [(band, theme.event, EVENT_TINT) for band in bands]
    blends = [
        tuple(np.rint((1 - share) * np.array(getrgb(one)) + share * np.array(getrgb(other))).astype(int).tolist())
        for one, other, share in pairs
    ]
    return list(dict.fromkeys([*map(getrgb, [*grounds, theme.grid, *marks]), *blends]))


def to_png(canvas: Canvas) -> bytes:
    """Render a PNG with the palette of the theme: smaller than an adaptive one, and the theme's colours stay exact."""
    small = BytesIO()
    _rendered(canvas).save(small, "png", optimize=True)
    return small.getvalue()


def to_webp(canvas: Canvas) -> bytes:
    """Render a lossless WebP of the same pixels: a quarter smaller, for where each materialization stores it."""
    small = BytesIO()
    _rendered(canvas).convert("RGB").save(small, "webp", lossless=True, quality=100)
    return small.getvalue()


def _rendered(canvas: Canvas) -> Image:
    from PIL import Image as images

    full = BytesIO()
    canvas.figure.savefig(full, format="png")
    table = images.new("P", (1, 1))
    table.putpalette([part for colour in palette(canvas.theme) for part in colour])
    return images.open(full).convert("RGB").quantize(palette=table, dither=images.Dither.NONE)


def to_svg(canvas: Canvas) -> bytes:
    """Render an SVG whose text is text: searchable and accessible."""
    import matplotlib

    drawn = BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "market-pipeline"}):
        canvas.figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()
