"""The overview picture, read back pixel by pixel where its size is not enough."""

import base64
from collections.abc import Sequence
from datetime import timedelta, timezone
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.ImageColor import getrgb

from market_pipeline.charts.canvas import OVERVIEW_WIDTH, palette
from market_pipeline.charts.marks import KINDS
from market_pipeline.charts.overview_chart import MOST_PANELS, draw_overview, most_alarming
from market_pipeline.charts.theme import DARK, LIGHT, THEMES, Theme
from market_pipeline_tests.builders import START, anomalies_of, anomaly_row
from market_pipeline_tests.charts.pictures import (
    END,
    changed,
    event,
    flat,
    joined,
    near,
    noisy,
    overview,
    pixels,
    scores_of,
)

FIVE = ["BTC", "ETH", "SOL", "ADA", "DOT"]
EIGHT = [f"C{number}" for number in range(MOST_PANELS)]
# Where panels are: right of the numbers, left of the prices, below the legend.
WIDE = slice(222, OVERVIEW_WIDTH - 74)
SPAN = WIDE.stop - WIDE.start
PANELS = (slice(112, None), WIDE)


def many_anomalies(symbols: Sequence[str]) -> list[dict[str, Any]]:
    """Of every kind and severity, in every symbol, and two market events."""
    rows = [event(300, 340), event(700, 800, severity="critical")]
    for place, symbol in enumerate(symbols):
        for number in range(60):
            kind = list(KINDS)[(number + place) % len(KINDS)]
            looks = {"severity": ["watch", "alert", "critical"][number % 3], "price_after": 100.0 + number % 7}
            rows.append(anomaly_row(symbol, number * 20 + place, kind, **looks))
    return rows


@pytest.mark.parametrize(("symbols", "theme"), [(FIVE, DARK), (EIGHT, LIGHT)], ids=["five dark", "eight light"])
def test_noisy_symbols_with_many_anomalies_stay_below_a_hundred_kilobytes(symbols: list[str], theme: Theme) -> None:
    """Dagster stores the picture, as text, with every materialization that has it."""
    scores = joined([noisy(symbol, seed) for seed, symbol in enumerate(symbols)])
    png = draw_overview(scores, anomalies_of(*many_anomalies(symbols)), symbols, START, END, {}, theme)
    assert len(base64.b64encode(png) if symbols is FIVE else png) < 100_000
    image = Image.open(BytesIO(png))
    assert image.format == "WEBP" and image.width == OVERVIEW_WIDTH
    assert 100 * len(symbols) < image.height < 160 * len(symbols) + 240
    assert "transparency" not in image.info
    used = {colour for _, colour in image.convert("RGB").getcolors() or []}
    assert getrgb(theme.paper) in used and used <= set(palette(theme))
    assert image.getpixel((2, image.height - 2)) == image.getpixel((2, 2))


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_each_kind_is_marked_in_its_colour_and_only_kinds_present_are_in_the_legend(theme: Theme) -> None:
    kinds = [kind for kind in KINDS if theme.kinds[kind] not in (theme.ink, theme.line)]
    rows = [
        anomaly_row("BTC", 100 + 120 * place, kind, severity="critical", price_after=100.0)
        for place, kind in enumerate(kinds)
    ]
    legend = slice(40, 60), slice(None)
    marked = overview(flat(), *rows[:-1], theme=theme)
    for kind in kinds[:-1]:
        assert pixels(marked, theme.kinds[kind])[PANELS].sum() > 40, kind
        assert pixels(marked, theme.kinds[kind])[legend].sum() > 20, kind
    assert not pixels(marked, theme.kinds[kinds[-1]]).any()


def test_severity_shows_in_size_and_fill() -> None:
    rows = [
        anomaly_row("BTC", 240 + 480 * place, "user_threshold", severity=severity, price_after=100.0)
        for place, severity in enumerate(("watch", "alert", "critical"))
    ]
    marks = pixels(overview(flat(), *rows), LIGHT.kinds["user_threshold"])[PANELS]
    widths, inked = [], []
    for mark in np.array_split(marks, 3, axis=1):
        widths.append(int(mark.any(axis=0).sum()))
        inked.append(mark.sum() / widths[-1] ** 2)
    assert widths[1] > 6 and widths[2] >= widths[1] + 4
    assert inked[0] < 0.6 < 0.8 < min(inked[1:]), "a watch is hollow, the others are full"


def test_a_mark_stands_on_the_line_where_its_episode_was_first_flagged() -> None:
    """Also where the episode peaked hours later: `price_after` is of that time."""
    image = overview(flat(), anomaly_row("BTC", 480, "user_threshold", severity="critical", price_after=103.0))
    rows, columns = np.nonzero(pixels(image, LIGHT.kinds["user_threshold"])[PANELS])
    line = np.asarray(image.convert("L"))[PANELS][:, SPAN // 2].argmin()
    assert abs(columns.mean() - SPAN / 3) < 2
    assert abs(rows.mean() - line) < 2


def test_the_band_is_drawn_where_it_is_known_and_left_out_where_not() -> None:
    moves = np.where(np.arange(289) < 144, np.nan, flat()["expected_move"])
    image = overview(changed(flat(), expected_move=moves))
    for colour in (LIGHT.one_sigma, LIGHT.three_sigma):
        columns = np.flatnonzero(pixels(image, colour)[PANELS].sum(axis=0) > 5)
        assert 0.49 < columns.min() / SPAN < 0.51 and columns.max() > 0.99 * SPAN


def test_a_market_event_is_one_shade_through_all_panels_and_is_at_least_some_pixels_wide() -> None:
    image = overview(joined([flat(symbol) for symbol in FIVE]), event(720, 720), symbols=FIVE)
    shade = pixels(image, LIGHT.event)[100:, WIDE]
    columns = np.flatnonzero(shade.any(axis=0))
    assert 5 <= len(columns) <= 9
    assert abs(columns.mean() - SPAN / 2) < 3
    inside = np.asarray(image)[100:-35, WIDE]
    differs = (inside[:, columns] != inside[:, columns - 20]).any(axis=(1, 2))
    assert differs.mean() > 0.95, "also on the band and between the panels"


def test_a_silence_is_hatched_and_no_line_crosses_it() -> None:
    minutes = [minute for minute in range(0, 1441, 5) if not 480 < minute < 960]
    image = overview(scores_of("BTC", minutes, [100.0 + minute % 7 for minute in minutes], sigma=np.nan))
    middle = slice(WIDE.start + round(0.36 * SPAN), WIDE.start + round(0.64 * SPAN))
    assert near(image, LIGHT.line)[60:-40, 240:430].any(axis=0).mean() > 0.9
    assert not near(image, LIGHT.line)[60:-40, middle].any()
    hatched = np.asarray(image.convert("L"))[60:-40, middle] < 250
    bare = np.asarray(overview(flat(sigma=np.nan)).convert("L"))
    assert hatched.mean() > 2 * (bare[60:-40, middle] < 250).mean()


def test_the_change_of_a_day_stands_beside_the_panel() -> None:
    with_change, without = (np.asarray(overview(flat(), changes=changes)) for changes in ({"BTC": 0.05}, {"ETH": 0.05}))
    differs = (with_change != without).any(axis=(0, 2))
    assert differs[: WIDE.start].any() and not differs[WIDE.start :].any()


def test_a_symbol_without_quotes_says_so_instead_of_failing() -> None:
    words = np.asarray(overview(flat(), symbols=["NEW"]).convert("L"))[100:, 530:600] < 130
    assert words.sum() > 60, "the middle of the empty panel holds no words"


def test_the_same_span_is_the_same_picture_whatever_lies_outside_it_and_in_any_time_zone() -> None:
    rows = many_anomalies(["BTC"])
    image = overview(noisy("BTC", 1), *rows)
    late = [anomaly_row("BTC", 3000), event(3000, 3100)]
    end = END.astimezone(timezone(timedelta(hours=9)))
    assert overview(noisy("BTC", 1), *rows, *late, end=end).tobytes() == image.tobytes()


@pytest.mark.parametrize("scale", [1e-12, 1e14])
def test_prices_of_any_size_are_drawn_without_a_warning(scale: float) -> None:
    scores = noisy("BTC", 1)
    scaled = changed(scores, price=scores["price"] * scale, price_before=scores["price_before"] * scale)
    image = overview(scaled, anomaly_row("BTC", 50, price_after=100 * scale))
    assert pixels(image, LIGHT.line)[PANELS].sum() > 500


@pytest.mark.parametrize("prices", [[1.0], [1.0, 1.0]])
def test_one_quote_or_a_flat_price_is_drawn(prices: list[float]) -> None:
    image = overview(scores_of("BTC", np.arange(len(prices)) * 5 + 700, prices))
    assert near(image, LIGHT.line, within=150)[112:-40, WIDE].sum() >= 4


def test_a_symbol_with_signs_of_mathematics_is_drawn_as_it_stands() -> None:
    """Matplotlib reads text between two dollar signs as a formula, and fails if it is none."""
    image = overview(flat("$A_{$"), symbols=["$A_{$"])
    assert (np.asarray(image.convert("L"))[60:, 14:100] < 100).sum() > 100


@pytest.mark.parametrize("symbols", [[], [*EIGHT, "C9"]])
def test_no_symbols_and_too_many_are_refused(symbols: list[str]) -> None:
    with pytest.raises(ValueError, match="1 to 8 panels"):
        draw_overview(flat(), anomalies_of(), symbols, START, END, {})


def test_of_many_symbols_those_with_the_most_severe_alarms_are_shown() -> None:
    symbols = [f"C{number}" for number in range(40)]
    rows = [anomaly_row(f"C{number}", 5, severity="watch") for number in range(20, 35)]
    rows += [anomaly_row("C38", 5, severity="critical"), anomaly_row("C39", 5, event_id="another")]
    chosen = most_alarming(symbols, anomalies_of(*rows))
    assert len(chosen) == MOST_PANELS and chosen == sorted(chosen, key=symbols.index)
    assert "C38" in chosen and "C39" not in chosen and "C0" not in chosen
    assert most_alarming(FIVE, anomalies_of()) == FIVE
