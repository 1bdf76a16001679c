"""The chart of one symbol: a PNG of it read back by its pixels, an SVG by its words."""

import re
from itertools import product
from xml.etree import ElementTree

import numpy as np
import pytest

from market_pipeline.charts.canvas import to_png, to_svg
from market_pipeline.charts.labels import Area, first_of_each_move, label_of
from market_pipeline.charts.marks import SHAPES
from market_pipeline.charts.symbol_chart import draw_chart
from market_pipeline.charts.theme import DARK, LIGHT, THEMES
from market_pipeline_tests.charts.conftest import (
    END,
    START,
    at,
    changed,
    event,
    flagged,
    noisy,
    opened,
    pixels,
    rows_of,
    scores_of,
)


def draw(scores, *rows, theme=LIGHT, symbol="BTC", end=END):
    return draw_chart(scores, rows_of(*rows), symbol, START, end, theme)


def words_of(canvas):
    """The texts of the SVG, in the order in which they are drawn."""
    root = ElementTree.fromstring(to_svg(canvas))
    return [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


SEVERE = flagged("BTC", 700, severity="critical", price_after=95.0, move=-0.152, direction="down")


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_it_shows_price_band_marks_and_events_in_the_colours_of_its_theme(theme):
    image = opened(to_png(draw(noisy("BTC", 1), SEVERE, event(200, 300), theme=theme)))
    assert image.width == 1200
    assert image.getpixel((1, 1)) == image.getpixel((1198, image.height - 2))
    for colour, least in (
        (theme.line, 500), (theme.one_sigma, 1000), (theme.three_sigma, 1000), (theme.event, 5000),
        (theme.kinds["jump"], 40),
    ):  # fmt: skip
        assert pixels(image, colour)[100:].sum() > least


def test_the_words_of_an_svg_are_words():
    words = words_of(draw(noisy("BTC", 1), SEVERE, event(200, 300)))
    for expected in (
        "BTC", "1 alarm", "jump", "critical", "market event", "Market fall, 3 coins, alert",
        "US dollars, 2023-06-01 00:00 to 2023-06-02 00:00 UTC", "Volatility, % a year", "−15.2 % in 5 min", "06:00",
    ):  # fmt: skip
        assert expected in words
    assert "large move" not in words, "the key tells only kinds that are there"


def test_the_same_rows_give_the_same_svg():
    assert to_svg(draw(noisy("BTC", 1), SEVERE)) == to_svg(draw(noisy("BTC", 1), SEVERE))


def test_an_svg_stays_readable_by_other_programs_when_it_is_long():
    """A year of 5-minute quotes is thinned to what 1200 pixels can show."""
    scores = noisy("BTC", 2, count=105_000)
    svg = to_svg(draw(scores, end=at(525_000)))
    assert len(svg) < 1_000_000
    assert re.search(rb"<svg[^>]* width=", svg)


def test_events_of_other_coins_are_shaded_and_rows_of_other_coins_are_not_marked():
    words = words_of(draw(noisy("BTC", 1), event(200, 300, members="ETH,SOL,ADA"), flagged("ETH", 700)))
    assert "Market fall, 3 coins, alert" in words
    assert "no alarms" in words and "jump" not in words


def test_only_the_most_severe_moves_are_labelled_and_each_once():
    numbers = range(1, 20)
    rows = [flagged("BTC", 100 + 60 * n, move=0.01 * n, score=float(n)) for n in numbers]
    same = flagged("BTC", 700, "large_move", price_after=95.0, move=-0.152, direction="down")
    words = words_of(draw(noisy("BTC", 1), SEVERE, same, *rows))
    labels = [text for text in words if text and " in 5 min" in text]
    assert labels.count("−15.2 % in 5 min") == 1
    assert "+19.0 % in 5 min" in labels and "+1.00 % in 5 min" not in labels
    assert len(labels) <= 6


def test_a_label_without_room_is_left_out():
    """Among two hundred marks there is no room for words."""
    rows = [
        flagged("BTC", 360 + 60 * column, list(SHAPES)[level % 6], id=f"{column} {level}", move=0.01 * column + 1e-3)
        for column, level in product(range(13), range(18))
    ]
    words = words_of(draw(scores_of("BTC", [0, 1435], [99.0, 101.0], sigma=np.nan), *spaced(rows)))
    assert len([text for text in words if text and " in 5 min" in text]) < 6


def spaced(rows):
    """Each an episode of its own, at a price of its own."""
    return [{**row, "episode_id": row["id"], "price_after": 99 + number % 18 / 9} for number, row in enumerate(rows)]


def test_a_feed_that_stands_still_is_labelled_by_how_long():
    marks = rows_of(flagged("BTC", 5, "stale_feed", direction="none", stale_minutes=45.0), SEVERE, SEVERE)
    assert [label_of(marks, index) for index in (0, 1)] == ["unchanged for 45 min", "−15.2 % in 5 min"]
    assert first_of_each_move(marks) == [0, 1]


def test_areas_that_touch_meet():
    one = Area(0, 0, 10, 10)
    assert one.meets(Area(12, 0, 20, 10)) and not one.meets(Area(20, 0, 30, 10))
    assert one.holds(np.array([5.0, 30.0]), np.array([5.0, 5.0])) == 1


def test_without_known_volatility_the_panel_says_so():
    scores = changed(noisy("BTC", 1), volatility=np.full(289, np.nan))
    words = words_of(draw(scores, theme=DARK))
    assert "not known yet" in words
    assert not [text for text in words if text and text.startswith("volatility")]
