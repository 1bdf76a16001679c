"""Scores and flagged rows for the tests of pictures, built by hand."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Double, Integer

from market_pipeline.core.columns import Columns
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline.storage.schema.types import UtcTimestamp

START = datetime(2023, 6, 1, tzinfo=timezone.utc)
END = START + timedelta(days=1)


def at(minutes: float) -> datetime:
    """So many minutes after the start."""
    return START + timedelta(minutes=minutes)


def scores_of(
    symbol: str, minutes: Iterable[float], prices: Iterable[float], sigma: float = 0.002
) -> Columns:
    """Quotes with a band of `sigma` around the price before each."""
    minutes, price = np.array(list(minutes), dtype=float), np.array(list(prices), dtype=float)
    count, offsets = len(price), (minutes * 6e7).astype("timedelta64[us]")
    return Columns(
        {
            "symbol": np.full(count, symbol, dtype=object),
            "timestamp": np.datetime64(START.replace(tzinfo=None), "us") + offsets,
            "price": price,
            "price_before": np.concatenate([[np.nan], price[:-1]])[:count],
            "expected_move": np.concatenate([[np.nan], np.full(max(count - 1, 0), sigma)])[:count],
            "volatility": np.full(count, 0.6),
        }
    )


def noisy(symbol: str, seed: int, count: int = 289) -> Columns:
    """A day of 5-minute quotes that never rest, and a band that never is the same."""
    rng = np.random.default_rng(seed)
    prices = 100 * np.exp(np.cumsum(0.003 * rng.standard_t(3, count)))
    scores = scores_of(symbol, np.arange(count) * 5, prices)
    moves = np.concatenate([[np.nan], 0.003 * np.exp(0.5 * rng.standard_normal(count - 1))])
    return changed(scores, expected_move=moves)


def joined(*many: Columns) -> Columns:
    return Columns({name: np.concatenate([part[name] for part in many]) for name in many[0].arrays})


def changed(scores: Columns, **columns: Any) -> Columns:
    return Columns({**scores.arrays, **columns})


def flagged(symbol: str, minutes: float, kind: str = "jump", **values: Any) -> dict[str, Any]:
    """A row of `price_anomalies` as a mapping."""
    usual = ((Double, 1.0), (Integer, 1), (UtcTimestamp, at(minutes)))
    row: dict[str, Any] = {}
    for column in price_anomalies.columns:
        plain = next((value for kind, value in usual if isinstance(column.type, kind)), "")
        row[column.name] = None if column.nullable else plain
    identity = f"{symbol} {minutes} {kind}"
    return {
        **row, "symbol": symbol, "kind": kind, "id": identity, "episode_id": identity, "severity": "alert",
        "direction": "up", "price_after": 100.0, "scope": "unknown", "elapsed_seconds": 300.0, **values,
    }  # fmt: skip


def event(minutes: float, until: float, members: str = "BTC,ETH,SOL", **values: Any) -> dict[str, Any]:
    """A market event, filed under its first member."""
    symbol = members.split(",")[0]
    row = flagged(symbol, minutes, "market_move", direction="down", members=members)
    return {**row, "event_id": row["id"], "episode_first": at(minutes), "episode_last": at(until), **values}


def rows_of(*rows: Mapping[str, Any]) -> Columns:
    return columns_of(price_anomalies, rows)


def opened(png: bytes) -> Image.Image:
    return Image.open(BytesIO(png)).convert("RGB")


def pixels(image: Image.Image, colour: str) -> np.ndarray:
    """Where `image` has exactly this colour, as a mask of rows and columns."""
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return (np.asarray(image) == wanted).all(axis=2)


def near(image: Image.Image, colour: str, within: int = 50) -> np.ndarray:
    """Where `image` has this colour or one that smooths its edges."""
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return np.abs(np.asarray(image).astype(int) - wanted).max(axis=2) < within


@pytest.fixture
def draw() -> Callable[..., Image.Image]:
    """Draws the overview of a day and gives it back as an image."""
    from market_pipeline.charts.overview_chart import draw_overview
    from market_pipeline.charts.theme import LIGHT

    def build(scores: Columns, *rows: Mapping[str, Any], symbols=("BTC",), theme=LIGHT, end=END):
        return opened(draw_overview(scores, rows_of(*rows), list(symbols), START, end, theme))

    return build
