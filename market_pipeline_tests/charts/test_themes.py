"""The looks of kinds: each has its own, it can be seen, and also by readers who do not see all colours."""

import itertools

import numpy as np
import pytest
from PIL.ImageColor import getrgb

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.series import Floats
from market_pipeline.charts.marks import KINDS
from market_pipeline.charts.theme import THEMES, Theme

# Full dichromacy, on linear light: Machado, Oliveira and Fernandes 2009, table of severity 1.0.
VISIONS = {
    "usual": np.eye(3),
    "no long cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no medium cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no short cones": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def test_every_kind_but_the_shaded_one_has_a_shape_a_colour_and_a_name_of_its_own() -> None:
    kinds = {kind.value for kind in Kind} - {"market_move"}
    assert set(KINDS) == kinds
    assert all(len(set(looks)) == len(kinds) for looks in zip(*KINDS.values(), strict=True))
    for theme in THEMES.values():
        assert set(theme.kinds) == kinds
        assert len(set(theme.kinds.values())) == len(kinds)


def linear(colour: str) -> Floats:
    """The light of a colour of the screen (IEC 61966-2-1)."""
    shares = np.array(getrgb(colour)) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_words_and_marks_stand_out_from_the_paper_and_words_from_the_shade(theme: Theme) -> None:
    """4.5 for words and 3 for marks is required by WCAG 2.2 (1.4.3, 1.4.11)."""
    for words in (theme.ink, theme.faint):
        assert contrast(words, theme.paper) >= 4.5
    assert contrast(theme.event_ink, theme.paper) >= 4.5 and contrast(theme.event_ink, theme.event) >= 4.5
    for ground in (theme.paper, theme.three_sigma):
        assert min(contrast(colour, ground) for colour in theme.kinds.values()) >= 3
    assert contrast(theme.line, theme.one_sigma) >= 4.5


def lab(light: Floats) -> Floats:
    """CIELAB of linear light under daylight D65."""
    share = TO_XYZ @ light / TO_XYZ.sum(axis=1)
    bent = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * bent[1] - 16, 500 * (bent[0] - bent[1]), 200 * (bent[1] - bent[2])])


@pytest.mark.parametrize("vision", VISIONS.values(), ids=VISIONS)
@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_no_two_kinds_look_alike_whatever_colours_one_sees(theme: Theme, vision: Floats) -> None:
    """A distance of 2 is just visible side by side; 15 is plain at a glance."""
    seen = [lab(np.clip(vision @ linear(colour), 0, 1)) for colour in theme.kinds.values()]
    assert min(float(np.linalg.norm(one - other)) for one, other in itertools.combinations(seen, 2)) > 15
