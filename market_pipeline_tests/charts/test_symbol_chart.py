"""The chart of one symbol: a PNG of it read back by its pixels, an SVG by its words."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from market_pipeline.charts.axes import price_names
from market_pipeline.charts.canvas import Canvas, to_png, to_svg
from market_pipeline.charts.labels import first_of_each_move, label_of
from market_pipeline.charts.marks import KINDS
from market_pipeline.charts.symbol_chart import draw_chart
from market_pipeline.charts.theme import LIGHT, THEMES, Theme
from market_pipeline.core.columns import Columns
from market_pipeline_tests.builders import START, anomalies_of, anomaly_row, at
from market_pipeline_tests.charts.pictures import END, changed, event, noisy, opened, pixels, scores_of

SEVERE = anomaly_row("BTC", 700, severity="critical", price_after=95.0, move=-0.152, direction="down")


def draw(scores: Columns, *rows: Mapping[str, Any], theme: Theme = LIGHT, end: datetime = END) -> Canvas:
    return draw_chart(scores, anomalies_of(*rows), "BTC", START, end, theme)


def words_of(canvas: Canvas) -> list[str]:
    """The texts of the SVG, in the order in which they are drawn."""
    return words_in(to_svg(canvas))


def words_in(svg: bytes) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def labels_of(canvas: Canvas) -> list[str]:
    return [text for text in words_of(canvas) if " in 5 min" in text]


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_it_shows_price_band_marks_and_events_in_the_colours_of_its_theme(theme: Theme) -> None:
    image = opened(to_png(draw(noisy("BTC", 1), SEVERE, event(200, 300), theme=theme)))
    assert image.width == 1200
    assert image.getpixel((1, 1)) == image.getpixel((1198, image.height - 2))
    least = {theme.line: 500, theme.one_sigma: 1000, theme.three_sigma: 1000, theme.event: 5000}
    for colour, count in {**least, theme.kinds["jump"]: 40}.items():
        assert pixels(image, colour)[100:].sum() > count


@pytest.mark.parametrize("names", ["2.50 2.55 2.60", "147.5 150.0 152.5", "98,000 100,000", "1e-05 2e-05", ""])
def test_the_prices_of_an_axis_have_equally_many_decimals(names: str) -> None:
    assert price_names([float(name.replace(",", "")) for name in names.split()]) == names.split()


def test_the_words_of_an_svg_are_words_and_the_same_rows_give_the_same_svg() -> None:
    """Rows of other coins are not marked, market events are whosever row they are."""
    rows = [SEVERE, event(200, 300, members="ETH,SOL,ADA"), anomaly_row("ETH", 700, "gap_move")]
    svg = to_svg(draw(noisy("BTC", 1), *rows))
    words = words_in(svg)
    assert {"BTC", "1 alarm", "jump", "critical", "market event", "Market fall, 3 coins, alert"} <= set(words)
    assert {"US dollars, 2024-03-01 00:00 to 2024-03-02 00:00 UTC", "\N{MINUS SIGN}15% in 5 min"} <= set(words)
    assert {"1 Mar", "06:00", "2 Mar"} <= set(words), "midnight is named by its date, other times by the clock"
    assert not {"large move", "move over a gap", "no alarms"} & set(words), "only kinds that are there"
    assert to_svg(draw(noisy("BTC", 1), *rows)) == svg


def test_an_svg_stays_readable_by_other_programs_when_it_is_long() -> None:
    """A year of 5-minute quotes is thinned to what 1200 pixels can show."""
    svg = to_svg(draw(noisy("BTC", 2, count=105_000), end=at(525_000)))
    assert len(svg) < 1_000_000
    assert re.search(rb"<svg[^>]* width=", svg)


def test_only_the_most_severe_moves_are_labelled_and_each_once() -> None:
    rows = [anomaly_row("BTC", 100 + 60 * n, move=0.01 * n, score=float(n), price_after=100.0) for n in range(1, 20)]
    same = {**SEVERE, "kind": "large_move", "id": "same", "episode_id": "same"}
    labels = labels_of(draw(noisy("BTC", 1), SEVERE, same, *rows))
    assert labels.count("\N{MINUS SIGN}15% in 5 min") == 1
    assert "+19% in 5 min" in labels and "+1.0% in 5 min" not in labels
    assert len(labels) <= 6


def test_a_label_without_room_is_left_out() -> None:
    """Among two hundred marks there is no room for words."""
    minutes = range(0, 400, 2)
    rows = [
        anomaly_row("BTC", minute, list(KINDS)[minute % 6], id=str(minute), episode_id=str(minute), move=minute / 1000)
        for minute in minutes
    ]
    steep = scores_of("BTC", minutes, [99 + minute * 7 % 18 / 9 for minute in minutes], sigma=np.nan)
    assert len(labels_of(draw(steep, *rows))) < 6


def test_a_stale_feed_is_labelled_by_its_duration_and_a_move_once() -> None:
    stale = anomaly_row("BTC", 5, "stale_feed", direction="none", stale_minutes=45.0)
    marks = anomalies_of(stale, SEVERE, SEVERE)
    assert [label_of(marks, index) for index in (0, 1)] == ["unchanged for 45 min", "\N{MINUS SIGN}15% in 5 min"]
    assert first_of_each_move(marks) == [0, 1]


def test_without_known_volatility_the_panel_says_so() -> None:
    words = words_of(draw(changed(noisy("BTC", 1), volatility=np.full(289, np.nan))))
    assert "not known yet" in words
    assert not any(text.startswith("volatility") for text in words)
