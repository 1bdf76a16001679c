"""The overview picture, read back pixel by pixel where that says more than its size."""

import base64
from datetime import timedelta, timezone
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from market_pipeline.charts.canvas import palette
from market_pipeline.charts.marks import SHAPES
from market_pipeline.charts.overview_chart import MOST_PANELS, draw_overview, most_alarming
from market_pipeline.charts.theme import DARK, LIGHT, THEMES
from market_pipeline_tests.charts.conftest import (
    END,
    START,
    at,
    changed,
    event,
    flagged,
    joined,
    near,
    noisy,
    opened,
    pixels,
    rows_of,
    scores_of,
)

FIVE = ["BTC", "ETH", "SOL", "ADA", "DOT"]
EIGHT = [f"C{number}" for number in range(MOST_PANELS)]
# Where panels are: right of the numbers, left of the prices, below the key.
PANELS = (slice(112, None), slice(222, 1126))


def many_anomalies(symbols):
    """Of every kind and severity, in every symbol, and two market events."""
    severities = ["watch", "alert", "critical"]
    rows = [event(300, 340), event(700, 800, severity="critical")]
    for place, symbol in enumerate(symbols):
        for number in range(60):
            kind = list(SHAPES)[(number + place) % len(SHAPES)]
            severity = severities[number % 3]
            looks = {"severity": severity, "price_after": 100 + number % 7}
            rows.append(flagged(symbol, number * 20 + place, kind, **looks))
    return rows


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_five_noisy_symbols_with_many_anomalies_stay_below_a_hundred_kilobytes_as_text(theme):
    """Dagster keeps the picture, as text, with every materialization that has it."""
    scores = joined(*(noisy(symbol, seed) for seed, symbol in enumerate(FIVE)))
    png = draw_overview(scores, rows_of(*many_anomalies(FIVE)), FIVE, START, END, theme)
    assert len(base64.b64encode(png)) < 100_000
    image = Image.open(BytesIO(png))
    assert image.format == "PNG" and image.width == 1200
    assert "transparency" not in image.info


def test_as_many_noisy_symbols_as_there_are_panels_stay_below_a_hundred_kilobytes():
    scores = joined(*(noisy(symbol, seed) for seed, symbol in enumerate(EIGHT)))
    assert len(draw_overview(scores, rows_of(*many_anomalies(EIGHT)), EIGHT, START, END)) < 100_000


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_it_is_1200_pixels_wide_and_grows_with_the_symbols(draw, count):
    scores = joined(*(noisy(symbol, seed) for seed, symbol in enumerate(EIGHT[:count])))
    image = draw(scores, symbols=EIGHT[:count])
    assert image.width == 1200
    assert 100 * count < image.height < 160 * count + 240


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
@pytest.mark.parametrize("kind", SHAPES)
def test_each_kind_is_marked_in_its_colour_and_only_kinds_present_are_in_the_key(draw, kind, theme):
    scores = scores_of("BTC", range(0, 1441, 5), [100.0] * 289)
    row = flagged("BTC", 700, kind, severity="critical")
    without = pixels(draw(scores, theme=theme), theme.kinds[kind])
    marked = pixels(draw(scores, row, theme=theme), theme.kinds[kind])
    key = slice(40, 60), slice(None)
    if theme.kinds[kind] not in (theme.ink, theme.line):
        assert without.sum() == 0
    assert marked[PANELS].sum() > without[PANELS].sum() + 40
    assert marked[key].sum() > without[key].sum() + 20


def test_severity_is_told_by_size_and_fill(draw):
    scores = scores_of("BTC", range(0, 1441, 5), [100.0] * 289)
    widths, inked = [], []
    for severity in ("watch", "alert", "critical"):
        image = draw(scores, flagged("BTC", 700, "user_threshold", severity=severity))
        mark = pixels(image, LIGHT.kinds["user_threshold"])[PANELS]
        widths.append(int(mark.any(axis=0).sum()))
        inked.append(mark.sum() / widths[-1] ** 2)
    assert widths[1] > 6 and widths[2] >= widths[1] + 4
    assert inked[0] < 0.6 < 0.8 < min(inked[1:]), "a watch is hollow, the others are full"


def test_the_band_is_drawn_where_it_is_known_and_left_out_where_not(draw):
    known = scores_of("BTC", range(0, 1441, 5), [100.0] * 289)
    moves = np.where(np.arange(289) < 144, np.nan, known["expected_move"])
    image = draw(changed(known, expected_move=moves))
    for colour in (LIGHT.one_sigma, LIGHT.three_sigma):
        columns = np.flatnonzero(pixels(image, colour)[PANELS].sum(axis=0) > 5)
        assert 445 < columns.min() < 460 and columns.max() > 895


def test_a_market_event_is_one_shade_through_all_panels_and_is_at_least_some_pixels_wide(draw):
    scores = joined(*(scores_of(symbol, range(0, 1441, 5), [100.0] * 289) for symbol in FIVE))
    image = draw(scores, event(720, 720), symbols=FIVE)
    shade = pixels(image, LIGHT.event)[100:, 222:1126]
    columns = np.flatnonzero(shade.any(axis=0))
    assert 5 <= len(columns) <= 9
    assert abs(columns.mean() - 904 / 2) < 3
    inside = np.asarray(image)[100:-35, 222:1126]
    differs = (inside[:, columns] != inside[:, columns - 20]).any(axis=(1, 2))
    assert differs.mean() > 0.95, "also on the band and between the panels"
    assert not pixels(draw(scores, symbols=FIVE), LIGHT.event).any()


def test_a_silence_is_hatched_and_no_line_crosses_it(draw):
    minutes = [minute for minute in range(0, 1441, 5) if not 480 < minute < 960]
    image = draw(scores_of("BTC", minutes, [100 + minute % 7 for minute in minutes], sigma=np.nan))
    middle = slice(222 + 320, 222 + 590)
    assert near(image, LIGHT.line)[60:-40, 240:500].any(axis=0).mean() > 0.9
    assert not near(image, LIGHT.line)[60:-40, middle].any()
    hatched = np.asarray(image.convert("L"))[60:-40, middle] < 250
    bare = np.asarray(draw(scores_of("BTC", range(0, 1441, 5), [100.0] * 289, np.nan)).convert("L"))
    assert hatched.mean() > 2 * (bare[60:-40, middle] < 250).mean()


def test_a_symbol_without_quotes_says_so_instead_of_failing(draw):
    scores = scores_of("BTC", range(0, 1441, 5), [100.0] * 289)
    image = draw(scores, symbols=["NEW"])
    words = np.asarray(image.convert("L"))[100:, 640:710] < 130
    assert words.sum() > 60, "the middle of the empty panel holds no words"


def test_what_lies_outside_the_time_span_is_ignored(draw):
    scores = scores_of("BTC", range(0, 1441, 5), [100.0] * 289)
    late = [flagged("BTC", 3000), event(3000, 3100)]
    assert draw(scores, *late).tobytes() == draw(scores).tobytes()


@pytest.mark.parametrize("scale", [1e-12, 1e-9, 1e-3, 1.0, 1e9, 1e14])
def test_prices_of_any_size_are_drawn_without_a_warning(draw, scale):
    scores = noisy("BTC", 1)
    scaled = changed(scores, price=scores["price"] * scale, price_before=scores["price_before"] * scale)
    image = draw(scaled, flagged("BTC", 50, price_after=100 * scale))
    assert pixels(image, LIGHT.line)[PANELS].sum() > 500


@pytest.mark.parametrize("prices", [[1.0], [1.0, 1.0]])
def test_one_quote_or_a_flat_price_is_drawn(draw, prices):
    image = draw(scores_of("BTC", np.arange(len(prices)) * 5 + 700, prices))
    assert near(image, LIGHT.line, within=150)[112:-40, 222:1126].sum() >= 4


def test_a_symbol_with_signs_of_mathematics_is_drawn_as_it_stands(draw):
    """Matplotlib reads text between two dollar signs as a formula, and fails if it is none."""
    image = draw(scores_of("$A_{$", range(0, 1441, 5), [100.0] * 289), symbols=["$A_{$"])
    assert (np.asarray(image.convert("L"))[60:, 14:100] < 100).sum() > 100


def test_the_same_rows_give_the_same_picture(draw):
    scores = noisy("BTC", 1)
    rows = many_anomalies(["BTC"])
    assert draw(scores, *rows).tobytes() == draw(scores, *rows).tobytes()


@pytest.mark.parametrize("symbols", [[], [f"C{number}" for number in range(MOST_PANELS + 1)]])
def test_no_symbols_and_too_many_are_refused(symbols):
    with pytest.raises(ValueError, match="1 to 8 panels"):
        draw_overview(noisy("BTC", 1), rows_of(), symbols, START, END)


def test_of_many_symbols_those_with_the_most_severe_alarms_are_shown():
    symbols = [f"C{number}" for number in range(40)]
    rows = [flagged(f"C{number}", 5, severity="watch") for number in range(20, 35)]
    rows += [flagged("C38", 5, severity="critical"), flagged("C39", 5, event_id="another")]
    chosen = most_alarming(symbols, rows_of(*rows))
    assert len(chosen) == MOST_PANELS and chosen == sorted(chosen, key=symbols.index)
    assert "C38" in chosen and "C39" not in chosen and "C0" not in chosen
    assert most_alarming(FIVE, rows_of()) == FIVE


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_palette_holds_every_colour_of_the_theme_and_the_picture_nothing_else(draw, theme):
    image = draw(noisy("BTC", 1), *many_anomalies(["BTC"]), theme=theme)
    used = {colour for _, colour in image.getcolors()}
    assert used <= set(palette(theme))
    assert {tuple(int(theme.paper[place : place + 2], 16) for place in (1, 3, 5))} <= used
    assert image.getpixel((2, image.height - 2)) == image.getpixel((2, 2))


def test_a_picture_on_a_time_zone_of_its_own_is_that_of_utc(draw):
    scores = noisy("BTC", 1)
    tokyo = timezone(timedelta(hours=9))
    assert draw(scores, end=END.astimezone(tokyo)).tobytes() == draw(scores).tobytes()
    png = draw_overview(scores, rows_of(), ["BTC"], at(0), at(1440))
    assert opened(png).tobytes() == draw(scores).tobytes()
