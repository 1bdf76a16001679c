"""Synthetic price series whose volatility, jumps and quoting faults are known exactly.

The logarithm of volatility is the sum of three Ornstein-Uhlenbeck factors (slow, mid, fast) and an
hour-of-day factor; it is held over pieces of at most a quarter of an hour, and returns are Gaussian given the
variance of the pieces of their interval. Every series comes with its control: the same path, the same
quoting faults, no jumps. Equal arguments give equal bits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.anomalies.volatility import Floats, hour_factor, log_sigma

START_PRICE = 30_000.0
JUMP_SIZES = (3.0, 4.0, 5.0, 6.0, 8.0)  # in standard deviations of the interval's return
QUOTES_PER_JUMP = 500
LEAST_QUOTES_BETWEEN_JUMPS = 50
WARM_UP = 1_000  # quotes at the start of a series that carry no jump and are not judged
QUOTE_NOISE = 0.5e-4
LONGEST_PIECE = 15.0  # minutes over which volatility is held


@dataclass(frozen=True)
class World:
    """A kind of series: its sampling and faults, and how many series of which length make a sample."""

    name: str
    title: str
    series: int
    length: int
    step: float  # minutes between quotes; for an irregular world the shortest gap
    irregular: bool = False

    def scaled(self, share: float) -> "World":
        """The same world with about `share` of its quotes: fewer series first, then shorter ones."""
        wanted = self.series * self.length * share
        series = max(2, min(self.series, round(wanted / self.length)))
        length = min(self.length, int(wanted / series))
        return World(self.name, self.title, series, length, self.step, self.irregular)


REGULAR = World("1m", "1-minute grid", 10, 100_000, 1.0)
IRREGULAR = World("irr", "irregular live quotes", 24, 40_000, 1.0, irregular=True)
HOURLY = World("1h", "hourly", 24, 35_000, 60.0)
WORLDS = (REGULAR, IRREGULAR, HOURLY)


@dataclass(frozen=True)
class Series:
    """One series with its control. All arrays have one element per quote but the two of the jumps."""

    minutes: Floats  # since a midnight UTC
    prices: Floats  # as quoted, with jumps, noise, rounding and repeats
    control: Floats  # the same without jumps
    elapsed: Floats  # minutes since the quote before; 0 for the first
    fresh: NDArray[np.bool_]  # False: the quote repeats the one before
    sigma: Floats  # true standard deviation of the return since the last fresh quote, noise included
    jump_at: NDArray[np.int64]  # quotes at which a jump shows first; always fresh
    jump_size: Floats  # one of JUMP_SIZES for each jump
    noise: float  # variance that noise and rounding add to every return


def make_series(world: World, number: int, seed: int = 1) -> Series:
    """Series `number` (from 0) of a world; other seeds give other samples of the same world."""
    random = np.random.default_rng([seed, sum(world.name.encode()), number])
    elapsed = _elapsed(world, random)
    minutes = np.cumsum(elapsed)
    lengths, ends = pieces(elapsed)
    scale = np.exp(2 * log_sigma(lengths, random))
    scale *= hour_factor(np.cumsum(lengths) - lengths / 2) ** 2 * lengths
    variance = np.diff(np.cumsum(scale)[ends], prepend=0.0)
    path = np.cumsum(np.sqrt(variance) * random.standard_normal(world.length))
    fresh = np.ones(world.length, dtype=np.bool_)
    quote_noise: Floats = np.zeros(world.length)
    noise = 0.0
    if world.irregular:
        fresh[1:] = random.random(world.length - 1) >= 0.08
        quote_noise = QUOTE_NOISE * random.standard_normal(world.length)
        noise = 2 * QUOTE_NOISE**2 + (1 / START_PRICE) ** 2 / 6
    sigma = np.sqrt(_since_fresh(variance, fresh) + noise)
    jump_at, jump_size = _jumps(fresh, random)
    steps = np.zeros(world.length)
    steps[jump_at] = jump_size * sigma[jump_at] * random.choice([-1.0, 1.0], len(jump_at))
    control = _quoted(path + quote_noise, fresh, rounded=world.irregular)
    prices = _quoted(path + quote_noise + np.cumsum(steps), fresh, rounded=world.irregular)
    return Series(minutes, prices, control, elapsed, fresh, sigma, jump_at, jump_size, noise)


def pieces(elapsed: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The lengths in minutes of the pieces of all intervals, and the number of the last piece of each."""
    counts = np.maximum(np.ceil(elapsed / LONGEST_PIECE), 1).astype(np.int64)
    return np.repeat(elapsed / counts, counts), np.cumsum(counts) - 1


def _elapsed(world: World, random: np.random.Generator) -> Floats:
    """Minutes before each quote; 0 before the first."""
    elapsed: Floats = np.full(world.length, world.step)
    if world.irregular:
        elapsed = random.uniform(1, 5, world.length)
        outage = random.random(world.length) < 0.004
        elapsed[outage] = random.uniform(30, 360, int(outage.sum()))
    elapsed[0] = 0.0
    return elapsed


def _since_fresh(variance: Floats, fresh: NDArray[np.bool_]) -> Floats:
    """Variance accrued since the last fresh quote, up to and including each quote."""
    total = np.cumsum(variance)
    last_fresh = np.maximum.accumulate(np.where(fresh, np.arange(len(fresh)), 0))
    before = np.concatenate(([0], last_fresh[:-1]))
    return total - total[before]


def _jumps(fresh: NDArray[np.bool_], random: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
    """Where jumps are, moved on to the next fresh quote, and how large they are."""
    apart = LEAST_QUOTES_BETWEEN_JUMPS
    count = 2 * len(fresh) // QUOTES_PER_JUMP
    at = WARM_UP + np.cumsum(apart + random.geometric(1 / (QUOTES_PER_JUMP - apart), count))
    quotes = np.flatnonzero(fresh)
    at = quotes[np.searchsorted(quotes, at[at < quotes[-1]])]
    return at, random.choice(JUMP_SIZES, len(at))


def _quoted(path: Floats, fresh: NDArray[np.bool_], *, rounded: bool) -> Floats:
    """Prices as a feed shows them: rounded to whole dollars and repeated where the quote is not fresh."""
    prices = START_PRICE * np.exp(path)
    shown = np.round(prices) if rounded else prices
    last_fresh = np.maximum.accumulate(np.where(fresh, np.arange(len(fresh)), 0))
    quoted: Floats = shown[last_fresh]
    return quoted
