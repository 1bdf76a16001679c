"""Real prices for the tests of detection, where they are present."""

import csv
import gzip

import numpy as np
import pytest

from benchmarks.anomalies.prices import FOLDER
from market_pipeline.core.columns import Columns


@pytest.fixture(scope="session")
def real_prices() -> Columns:
    """Five coins, 2022-10-15 to 2022-11-25, every 5 minutes, sorted by symbol and time."""
    file = FOLDER / "2022-11_5min.csv.gz"
    if not file.exists():
        pytest.skip(f"{file} is not present")
    with gzip.open(file, "rt", newline="") as lines:
        rows = sorted((row["symbol"], row["timestamp"], row["price"]) for row in csv.DictReader(lines))
    symbols, timestamps, prices = zip(*rows, strict=True)
    return Columns(
        {
            "symbol": np.array(symbols, dtype=object),
            "timestamp": np.array([text.removesuffix("Z") for text in timestamps], dtype="datetime64[us]"),
            "price": np.array(prices, dtype=np.float64),
        }
    )
