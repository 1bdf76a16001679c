"""The real series the benchmark measures on, where they are present."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.anomalies.volatility import Floats

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "prices"


@dataclass(frozen=True)
class Bars:
    """Closing prices of one symbol in one file; minutes since 1970 UTC."""

    file: str
    symbol: str
    minutes: Floats
    prices: Floats

    @property
    def days(self) -> float:
        return float(self.minutes[-1] - self.minutes[0]) / 1440


def load(folder: Path = FOLDER) -> list[Bars]:
    """All series of all files, in order of file and symbol; none when the folder is absent."""
    import pandas as pd

    bars = []
    for path in sorted(folder.glob("*.csv.gz")):
        frame = pd.read_csv(path, parse_dates=["timestamp"])
        for symbol, rows in frame.sort_values("timestamp").groupby("symbol", sort=True):
            seconds = rows["timestamp"].to_numpy(dtype="datetime64[s]").astype(np.int64)
            bars.append(Bars(path.name, str(symbol), seconds / 60.0, rows["price"].to_numpy(np.float64)))
    return bars


def by_file(bars: list[Bars]) -> dict[str, list[Bars]]:
    """The series of each file."""
    return {file: [one for one in bars if one.file == file] for file in dict.fromkeys(b.file for b in bars)}
