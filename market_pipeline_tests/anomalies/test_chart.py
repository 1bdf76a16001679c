"""The overview picture, read back pixel by pixel where that says more than its size."""

from datetime import timedelta
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from market_pipeline.anomalies.chart import draw_overview
from market_pipeline.storage.columns import Columns

SYMBOLS = [f"C{number}" for number in range(12)]
GREEN, RED = (0x16, 0x80, 0x3C), (0xC6, 0x28, 0x28)


def anomaly_columns(series, indexes=(), direction="up"):
    return Columns(
        {
            "symbol": np.full(len(indexes), series.symbol, dtype=object),
            "timestamp": series.timestamps[list(indexes)],
            "direction": np.full(len(indexes), direction, dtype=object),
            "price_after": series.prices[list(indexes)],
        }
    )


def draw(prices, anomalies, symbols, first):
    png = draw_overview(prices, anomalies, symbols, first, first + timedelta(days=1))
    return png, Image.open(BytesIO(png)).convert("RGB")


def pixels_like(image, colour):
    """How many pixels have `colour`, give or take what the palette rounds off."""
    distance = np.abs(np.asarray(image, dtype=int) - np.array(colour)).max(axis=2)
    return int((distance < 16).sum())


@pytest.fixture
def day(walk):
    """Builds a day of 5-minute quotes of one symbol."""
    return lambda symbol="C0", seed=1: walk(np.arange(289) * 300, seed, symbol)


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_it_is_960_pixels_wide_and_grows_with_the_symbols(day, count, as_columns):
    many = [day(symbol, seed) for seed, symbol in enumerate(SYMBOLS[:count])]
    png, image = draw(as_columns(*many), anomaly_columns(many[0]), SYMBOLS[:count], many[0].time(0))
    assert image.format is None and png.startswith(b"\x89PNG")
    assert image.width == 960
    assert 200 <= image.height <= 1700
    assert len(png) < 13_000 * max(count, 2)


def test_five_symbols_stay_below_sixty_kilobytes(day, as_columns):
    """Dagster keeps the picture with every materialization."""
    many = [day(symbol, seed) for seed, symbol in enumerate(SYMBOLS[:5])]
    png, _ = draw(as_columns(*many), anomaly_columns(many[0], range(50, 60)), SYMBOLS[:5], many[0].time(0))
    assert len(png) < 60_000


def test_flagged_points_are_marked_in_the_colour_of_their_direction(day, as_columns):
    """The key above the panels holds one mark of each colour; a flagged point adds another."""
    quotes = day()
    counts = {}
    for name, anomalies in (
        ("none", anomaly_columns(quotes)),
        ("up", anomaly_columns(quotes, [100, 200], "up")),
        ("down", anomaly_columns(quotes, [100, 200], "down")),
    ):
        _, image = draw(as_columns(quotes), anomalies, ["C0"], quotes.time(0))
        counts[name] = (pixels_like(image, GREEN), pixels_like(image, RED))
    assert counts["up"][0] > counts["none"][0] + 20
    assert counts["down"][1] > counts["none"][1] + 20
    assert counts["up"][1] == counts["none"][1] > 0


def test_the_background_is_opaque_and_light_on_any_page(day, as_columns):
    quotes = day()
    png, image = draw(as_columns(quotes), anomaly_columns(quotes), ["C0"], quotes.time(0))
    assert "transparency" not in Image.open(BytesIO(png)).info
    assert min(image.getpixel((2, image.height - 2))) > 245


def test_a_symbol_without_quotes_says_so_instead_of_failing(day, series, as_columns):
    quotes, nothing = day(), series([], [])
    with_text, image = draw(as_columns(nothing), anomaly_columns(nothing), ["NEW"], quotes.time(0))
    dark = np.asarray(image.convert("L"))[120:260, 450:750] < 160
    assert dark.sum() > 100, "the middle of the empty panel holds no words"
    assert with_text.startswith(b"\x89PNG")


def test_quotes_outside_the_time_span_are_ignored(day, as_columns):
    quotes = day()
    first = quotes.time(0) + timedelta(days=30)
    outside, _ = draw(as_columns(quotes), anomaly_columns(quotes, [5]), ["C0"], first)
    empty, _ = draw(as_columns(quotes), anomaly_columns(quotes), ["OTHER"], first)
    assert abs(len(outside) - len(empty)) < 2000


@pytest.mark.parametrize("scale", [1e-12, 1e-9, 1e-3, 1.0, 1e9, 1e14])
def test_prices_of_any_size_are_drawn_without_a_warning(day, series, scale, as_columns):
    quotes = day()
    scaled = series(quotes.prices * scale, np.arange(289) * 300, "C0")
    png, _ = draw(as_columns(scaled), anomaly_columns(scaled, [10]), ["C0"], quotes.time(0))
    assert len(png) > 5000


@pytest.mark.parametrize("prices", [[1.0], [1.0, 1.0]])
def test_one_quote_or_a_flat_price_is_drawn_without_a_warning(series, prices, as_columns):
    quotes = series(prices, np.arange(len(prices)) * 300)
    png, _ = draw(as_columns(quotes), anomaly_columns(quotes), ["BTC"], quotes.time(0))
    assert len(png) > 3000


def test_a_symbol_with_signs_of_mathematics_is_drawn_as_it_stands(series, as_columns):
    """Matplotlib reads text between two dollar signs as a formula."""
    quotes = series([1.0, 2.0], [0, 3600], "$A_{$")
    png, _ = draw(as_columns(quotes), anomaly_columns(quotes), ["$A_{$"], quotes.time(0))
    assert len(png) > 3000


def test_no_symbols_are_refused(day, as_columns):
    quotes = day()
    with pytest.raises(ValueError, match="at least one symbol"):
        draw(as_columns(quotes), anomaly_columns(quotes), [], quotes.time(0))
