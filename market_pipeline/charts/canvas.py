"""A picture laid out in pixels from its upper left corner, and the files it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from market_pipeline.charts.palette import with_palette
from market_pipeline.charts.theme import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

WIDTH = 1200
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
        return self.top + self.height


class Canvas:
    """A figure `WIDTH` pixels wide and `height` high, in the colours of `theme`."""

    def __init__(self, height: int, theme: Theme) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.height = height
        self.theme = theme
        size = (WIDTH / _DOTS_PER_INCH, height / _DOTS_PER_INCH)
        self.figure: Figure = Figure(figsize=size, dpi=_DOTS_PER_INCH, facecolor=theme.paper)
        FigureCanvasAgg(self.figure)

    def axes(self, box: Box) -> Axes:
        """Axes without frame or ticks that fill `box`; what lies below shows through."""
        axes: Axes = self.figure.add_axes(
            (box.left / WIDTH, 1 - box.bottom / self.height, box.width / WIDTH, box.height / self.height)
        )
        axes.set_facecolor("none")
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(
            length=0, labelsize=points(13), colors=self.theme.faint, labelbottom=False, labelleft=False
        )
        return axes

    def text(self, left: float, top: float, words: str, size: float, **looks: Any) -> Text:
        """`words` as they stand, their upper left corner at the given pixels, `size` pixels high."""
        looks = {"color": self.theme.ink, "va": "top", **looks}
        return self.figure.text(
            left / WIDTH, 1 - top / self.height, words, fontsize=points(size), parse_math=False, **looks
        )


def points(pixels: float) -> float:
    """A length in pixels as Matplotlib takes sizes."""
    return pixels * 72 / _DOTS_PER_INCH


def to_png(canvas: Canvas) -> bytes:
    """The picture as a PNG with a palette."""
    from PIL import Image

    full, small = BytesIO(), BytesIO()
    canvas.figure.savefig(full, format="png")
    picture = with_palette(Image.open(full).convert("RGB"), canvas.theme)
    picture.save(small, "png", optimize=True)
    return small.getvalue()


def to_svg(canvas: Canvas) -> bytes:
    """The picture as an SVG in which words are words: they can be searched and read aloud."""
    import matplotlib

    drawn = BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "market-pipeline"}):
        canvas.figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()
