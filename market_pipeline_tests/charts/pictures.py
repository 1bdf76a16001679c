"""Scores and flagged rows for the tests of pictures, built by hand, and pictures read back."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageColor import getrgb

from market_pipeline.charts.overview_chart import draw_overview
from market_pipeline.charts.theme import LIGHT, Theme
from market_pipeline.core.columns import Columns, to_datetime64
from market_pipeline_tests.builders import START, anomalies_of, anomaly_row, at

END = START + timedelta(days=1)
Mask = NDArray[np.bool_]


def scores_of(symbol: str, minutes: Iterable[float], prices: Iterable[float], sigma: float = 0.002) -> Columns:
    """Quotes with a band of `sigma` around the price before each."""
    times, price = np.array(list(minutes), dtype=float), np.array(list(prices), dtype=float)
    count = len(price)
    return Columns(
        {
            "symbol": np.full(count, symbol, dtype=object),
            "timestamp": to_datetime64(START) + (times * 6e7).astype("timedelta64[us]"),
            "price": price,
            "price_before": np.concatenate([[np.nan], price[:-1]])[:count],
            "expected_move": np.concatenate([[np.nan], np.full(max(count - 1, 0), sigma)])[:count],
            "volatility": np.full(count, 0.6),
        }
    )


def flat(symbol: str = "BTC", sigma: float = 0.002) -> Columns:
    """A day of 5-minute quotes at 100."""
    return scores_of(symbol, range(0, 1441, 5), [100.0] * 289, sigma)


def noisy(symbol: str, seed: int, count: int = 289) -> Columns:
    """A day of 5-minute quotes that never rest, and a band that never is the same."""
    rng = np.random.default_rng(seed)
    prices = 100 * np.exp(np.cumsum(0.003 * rng.standard_t(3, count)))
    moves = np.concatenate([[np.nan], 0.003 * np.exp(0.5 * rng.standard_normal(count - 1))])
    return changed(scores_of(symbol, np.arange(count) * 5, prices), expected_move=moves)


def joined(many: Sequence[Columns]) -> Columns:
    """All rows as one table."""
    return Columns({name: np.concatenate([part[name] for part in many]) for name in many[0].arrays})


def changed(scores: Columns, **columns: Any) -> Columns:
    """The same rows with other columns."""
    return Columns({**scores.arrays, **columns})


def event(minutes: float, until: float, members: str = "BTC,ETH,SOL", **values: Any) -> dict[str, Any]:
    """A market event, filed under its first member."""
    row = anomaly_row(members.split(",")[0], minutes, "market_move", direction="down", members=members)
    return {**row, "event_id": row["id"], "episode_first": at(minutes), "episode_last": at(until), **values}


def overview(
    scores: Columns,
    *rows: Mapping[str, Any],
    symbols: Sequence[str] = ("BTC",),
    theme: Theme = LIGHT,
    end: datetime = END,
    changes: Mapping[str, float] | None = None,
) -> Image.Image:
    """The overview of a day as an image."""
    return opened(draw_overview(scores, anomalies_of(*rows), list(symbols), START, end, changes or {}, theme))


def opened(png: bytes) -> Image.Image:
    """A PNG as an RGB image."""
    return Image.open(BytesIO(png)).convert("RGB")


def pixels(image: Image.Image, colour: str) -> Mask:
    """Where `image` has exactly this colour, by row and column."""
    same: Mask = (np.asarray(image) == getrgb(colour)).all(axis=2)
    return same


def near(image: Image.Image, colour: str, within: int = 50) -> Mask:
    """Where `image` has this colour or one that smooths its edges."""
    similar: Mask = np.abs(np.asarray(image).astype(int) - getrgb(colour)).max(axis=2) < within
    return similar
