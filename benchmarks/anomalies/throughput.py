"""Rows scored a second on one core: the package with everything it does, beside the rivals."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.anomalies import rivals
from benchmarks.anomalies.contenders import LIBRARIES, RULES
from benchmarks.anomalies.ours import as_frame
from benchmarks.anomalies.volatility import Floats
from benchmarks.anomalies.worlds import REGULAR, World, make_series

_SYMBOLS = ("BTC", "ETH", "SOL", "ADA", "DOT")
_AT_MOST = {"PyOD IForest": 200_000, "river HalfSpaceTrees": 20_000}
_REPEATS = 3
PLAIN = "EWMA, the compiled loop alone"


@dataclass(frozen=True)
class Speed:
    title: str
    rows: int
    seconds: float  # CPU seconds of this process, the best of three

    @property
    def millions(self) -> float:
        return self.rows / self.seconds / 1e6


def measure(rows_per_symbol: int = 400_000) -> Iterator[Speed]:
    """The package on five symbols first, then a plain loop and each rival on one long series."""
    world = World(REGULAR.name, REGULAR.title, len(_SYMBOLS), rows_per_symbol, REGULAR.step)
    panel: dict[str, tuple[Floats, Floats]] = {}
    for number, symbol in enumerate(_SYMBOLS):
        series = make_series(world, number)
        panel[symbol] = (series.minutes, series.prices)
    yield from _ours(panel)
    minutes, prices = panel["BTC"]
    moves, ones = rivals.returns(prices), np.ones(len(prices))
    rivals.ewma_loop(moves[:100], ones[:100], 1e-9)
    yield Speed(PLAIN, len(prices), _best(partial(rivals.ewma_loop, moves, ones, 1e-9)))
    for contender in (*RULES, *LIBRARIES):
        count = min(_AT_MOST.get(contender.name, rows_per_symbol), rows_per_symbol)
        sample = (minutes[:count], prices[:count])
        contender.scores(*(part[:3_000] for part in sample))  # compiles, imports
        yield Speed(contender.name, count, _best(partial(contender.scores, *sample)))


def _ours(panel: dict[str, tuple[Floats, Floats]]) -> Iterator[Speed]:
    from market_pipeline.anomalies import calibrate, score_prices

    frame = as_frame(panel)
    history = frame[frame["timestamp"] < frame["timestamp"].min() + np.timedelta64(90, "D")]
    calibration = calibrate(history)
    score_prices(frame.head(3_000), calibration)  # compiles
    seconds = _best(partial(score_prices, frame, calibration))
    yield Speed("whole score_prices with a calibration (ours)", len(frame), seconds)
    seconds = _best(partial(calibrate, history))
    yield Speed("calibrate, 90 days of minutes (ours)", len(history), seconds)


def _best(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(_REPEATS):
        started = time.process_time()
        call()
        taken.append(time.process_time() - started)
    return min(taken)
