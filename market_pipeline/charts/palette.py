"""The colours of a picture as a palette: a PNG with one is a fifth of the size, and its colours are exact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from market_pipeline.charts.theme import Theme

if TYPE_CHECKING:
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
