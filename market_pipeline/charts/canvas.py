"""A picture laid out in pixels from its upper left corner, and the files it becomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from market_pipeline.charts.theme import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from PIL.Image import Image


Colour = tuple[int, int, int]

# How much an event tints the band: enough to be seen through it, and the band remains a band.
EVENT_TINT = 0.25
# Close enough that no step on the way from a line to its ground is nearer to the colour of a mark.
_STEPS = (0.2, 0.45, 0.7)
_ENTRIES = 256


def with_palette(picture: Image, theme: Theme) -> Image:
    """`picture` (RGB) with each pixel in the nearest colour of the palette of `theme`."""
    from PIL import Image as images

    colours = palette(theme)
    colours += colours[:1] * (_ENTRIES - len(colours))
    table = images.new("P", (1, 1))
    table.putpalette([part for colour in colours for part in colour])
    return picture.quantize(palette=table, dither=images.Dither.NONE)


def palette(theme: Theme) -> list[Colour]:
    """The colours of `theme`, and between those that meet at an edge some to smooth it."""
    return list(dict.fromkeys([*_plain(theme), *_between(theme)]))


def _plain(theme: Theme) -> Iterator[Colour]:
    yield from map(rgb, (theme.paper, theme.ink, theme.faint, theme.grid, theme.line, theme.silence))
    yield from map(rgb, (theme.one_sigma, theme.three_sigma, theme.event, theme.event_ink))
    yield from map(rgb, theme.kinds.values())


def _between(theme: Theme) -> Iterator[Colour]:
    for letters in (theme.ink, theme.faint, theme.line):
        yield from (_mixed(letters, theme.paper, share) for share in _STEPS)
    for ground in (theme.one_sigma, theme.three_sigma, theme.event):
        yield from (_mixed(theme.line, ground, share) for share in _STEPS)
    for colour in (theme.silence, theme.event_ink, *theme.kinds.values()):
        yield _mixed(colour, theme.paper, 0.5)
    yield _mixed(theme.event_ink, theme.event, 0.5)
    yield from (_mixed(band, theme.event, EVENT_TINT) for band in (theme.one_sigma, theme.three_sigma))


def rgb(colour: str) -> Colour:
    """A colour written as #rrggbb."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return red, green, blue


def _mixed(colour: str, other: str, share: float) -> Colour:
    red, green, blue = (
        round((1 - share) * one + share * two) for one, two in zip(rgb(colour), rgb(other), strict=True)
    )
    return red, green, blue


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
