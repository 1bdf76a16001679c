"""What a tick and a first run cost, each in a process of its own: few rows are interpreted, many are compiled."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.anomalies.cadences import market
from benchmarks.anomalies.replay import without_past
from market_pipeline.anomalies.scores.learning import calibrate_columns
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.columns import Columns

_DAYS, _PAST_DAYS = 9, 60
_START = 26_297_280.0  # minutes: 2020-01-01 UTC
_COPIES = 50  # of five coins
_PROGRAM = """
import json, sys, time
import numpy as np
from datetime import datetime, timedelta, timezone
columns, calibration, repeats = np.load(sys.argv[1], allow_pickle=True), open(sys.argv[2]).read(), int(sys.argv[3])
started = time.process_time()
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.detect import detect_days
from market_pipeline.core.columns import Columns
prices = Columns({name: columns[name] for name in ("symbol", "timestamp", "price")})
known = Calibration.from_json(calibration)
day = prices["timestamp"].max().astype("datetime64[D]").item()
days = [(day, str(symbol)) for symbol in dict.fromkeys(prices["symbol"].tolist())]
taken = []
for _ in range(repeats):
    begun = time.process_time()
    detect_days(prices, days, lambda _: known)
    taken.append(time.process_time() - begun)
print(json.dumps([min(taken), time.process_time() - started]))
"""


@dataclass(frozen=True)
class Latency:
    """CPU seconds of one day of so many symbols; `cold` includes imports and the first call."""

    title: str
    symbols: int
    seconds: float


def measure() -> Iterator[Latency]:
    """The scoring of a tick of five symbols, warm; the first day of 250 symbols, imports included."""
    yield Latency("a tick of five symbols, the best of five", 5, _child(1, 5)[0])
    cold = min(_child(_COPIES, 1)[1] for _ in range(2))
    yield Latency("a day of 250 symbols in a new process", 5 * _COPIES, cold)


def _child(copies: int, repeats: int) -> tuple[float, float]:
    minutes = _START + np.arange(0.0, (_PAST_DAYS + _DAYS) * 1440.0, 5.0)
    history = without_past(market(minutes, 21))
    prices = history.columns()
    as_of = history.days[-1]
    calibration = calibrate_columns(prices, start_of_day(as_of))
    window = prices.between(start_of_day(as_of) - _DAYS * DAY, start_of_day(as_of) + DAY)
    with tempfile.TemporaryDirectory() as folder:
        columns, known = Path(folder) / "columns.npz", Path(folder) / "calibration.json"
        quotes = _copied(window, copies)
        np.savez(columns, symbol=quotes["symbol"], timestamp=quotes["timestamp"], price=quotes["price"])
        known.write_text(calibration.to_json(), encoding="utf-8")
        command = [sys.executable, "-c", _PROGRAM, str(columns), str(known), str(repeats)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    best, whole = json.loads(printed)
    return float(best), float(whole)


def _copied(prices: Columns, copies: int) -> Columns:
    """The coins several times, under other names after the first."""
    parts = [prices]
    for number in range(1, copies):
        names = np.array([f"{symbol}{number}" for symbol in prices["symbol"].tolist()], dtype=object)
        parts.append(Columns({**prices.arrays, "symbol": names}))
    return Columns({name: np.concatenate([part[name] for part in parts]) for name in prices.arrays})
