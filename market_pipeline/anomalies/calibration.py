"""A calibration: hour factors, the volatility of each coin, the tails of the scores, and the largest days.

It is learned (in `scores/learning.py`) only from quotes before its as-of time. It is stored and immutable, so that a
past day is scored again with what was known then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timezone

import numpy as np

from market_pipeline.anomalies.parameters import DETECTOR_VERSION, MINUTES_PER_YEAR, PARAMETERS
from market_pipeline.anomalies.scores.hours import HOURS
from market_pipeline.anomalies.scores.tails import MixedTail, Tail, mix
from market_pipeline.anomalies.series import Floats

# The usual volatility of a coin over a year or more, per square root of a minute.
PRIOR_LONG_VOLATILITY = PARAMETERS.prior_long_volatility / math.sqrt(MINUTES_PER_YEAR)
# The symbol of what was learned from all coins together.
ALL_COINS = "*"


@dataclass(frozen=True)
class CoinCalibration:
    """What is known of one coin; volatilities are log returns per square root of a minute.

    `level` is the log of its volatility, `volatility_quantiles` are 21 quantiles (0%, 5%, ...) of the annual one over
    its `quotes` of `days` days. `slow` is its slow volatility `LEAD_DAYS` before the as-of time, where the scoring of
    the first day begins (None if that is not known), and `long` its volatility over a year or more.
    """

    level: float
    volatility_quantiles: tuple[float, ...]
    quotes: int
    days: float
    slow: float | None
    long: float


@dataclass(frozen=True)
class LargestDays:
    """The days with the highest score since the day `since`, as (day, score), highest first."""

    since: date
    days: tuple[tuple[date, float], ...]

    def last_at_least(self, score: float) -> date | None:
        """Return the last day whose highest score was at least this; None if there was none."""
        return max((day for day, highest in self.days if highest >= score), default=None)


@dataclass(frozen=True)
class Calibration:
    """24 hour factors (UTC), what is known of each coin, tails named by `tail_key`, and the largest days.

    `largest` has those of each coin's large moves, and those of the market as `ALL_COINS`.

    `as_of` is converted to UTC; only quotes before it were used. Raises ValueError if it has no time zone or `hours`
    are not 24 numbers above zero.
    """

    as_of: datetime
    hours: tuple[float, ...]
    coins: Mapping[str, CoinCalibration] = field(default_factory=dict)
    tails: Mapping[str, Tail] = field(default_factory=dict)
    largest: Mapping[str, LargestDays] = field(default_factory=dict)
    detector_version: str = DETECTOR_VERSION

    def __post_init__(self) -> None:
        if self.as_of.tzinfo is None:
            raise ValueError(f"as_of {self.as_of.isoformat()} has no time zone; give an aware UTC datetime")
        # Python compares a time inside a DST gap equal to no time of another zone.
        object.__setattr__(self, "as_of", self.as_of.astimezone(timezone.utc))
        if len(self.hours) != HOURS or not all(factor > 0 for factor in self.hours):
            raise ValueError(f"{len(self.hours)} hour factors {self.hours}: there must be 24, all above zero")

    def of(self, symbol: str) -> Calibration:
        """Return the part that concerns one coin, with the hours and the tails of all coins."""
        coins = {symbol: self.coins[symbol]} if symbol in self.coins else {}
        tails = {key: tail for key, tail in self.tails.items() if _coin_of(key) in (symbol, ALL_COINS)}
        largest = {name: days for name, days in self.largest.items() if name in (symbol, ALL_COINS)}
        return replace(self, coins=coins, tails=tails, largest=largest)

    @staticmethod
    def joined(parts: Sequence[Calibration]) -> Calibration:
        """Join the parts of several coins (at least one) with the same as-of time.

        The hours and the pooled tails are taken from the first part; parts made together share them.
        """
        coins = {symbol: coin for part in parts for symbol, coin in part.coins.items()}
        own = {key: tail for part in parts for key, tail in part.tails.items() if _coin_of(key) != ALL_COINS}
        largest = {name: days for part in reversed(parts) for name, days in part.largest.items()}
        return replace(parts[0], coins=coins, tails={**parts[0].of(ALL_COINS).tails, **own}, largest=largest)

    def to_json(self) -> str:
        """Return a JSON document that `from_json` reads back unchanged."""
        largest = {
            name: {"since": each.since.isoformat(), "days": [(day.isoformat(), score) for day, score in each.days]}
            for name, each in self.largest.items()
        }
        return json.dumps({**asdict(self), "as_of": self.as_of.isoformat(), "largest": largest})

    @staticmethod
    def from_json(text: str) -> Calibration:
        """Read a document of `to_json`; raises ValueError if it is not one."""
        try:
            document = json.loads(text)
            return Calibration(
                as_of=datetime.fromisoformat(document["as_of"]),
                hours=tuple(document["hours"]),
                coins={
                    symbol: CoinCalibration(**{**coin, "volatility_quantiles": tuple(coin["volatility_quantiles"])})
                    for symbol, coin in document["coins"].items()
                },
                tails={key: Tail(**tail) for key, tail in document["tails"].items()},
                largest={
                    name: LargestDays(
                        date.fromisoformat(each["since"]),
                        tuple((date.fromisoformat(day), score) for day, score in each["days"]),
                    )
                    for name, each in document["largest"].items()
                },
                detector_version=document["detector_version"],
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"this is not a calibration of this package: {error!r}") from None

    def volatility_percentiles(self, symbol: str, annual: Floats) -> Floats:
        """Return the percentage of the coin's past calmer than `annual` (0.6 is 60% a year); NaN if unknown."""
        coin = self.coins.get(symbol)
        if coin is None or not coin.volatility_quantiles:
            return np.full(len(annual), np.nan)
        quantiles = np.array(coin.volatility_quantiles)
        percentiles: Floats = np.interp(annual, quantiles, np.linspace(0, 100, len(quantiles)))
        return percentiles


def tail_of(calibration: Calibration | None, symbol: str, score: str, cadence: str) -> MixedTail:
    """Return the tail of one of `SCORES` at one of `CADENCES`, as far as the past goes, and else the prior."""
    tails = calibration.tails if calibration else {}
    names = (tail_key(symbol, score, cadence), tail_key(ALL_COINS, score, cadence))
    return mix(tails.get(names[0]), tails.get(names[1]), score, cadence)


def long_volatility(calibration: Calibration | None, symbol: str) -> float:
    """Return a coin's volatility over a year or more, per square root of a minute; the prior one if it is unknown."""
    coin = calibration.coins.get(symbol) if calibration else None
    return PRIOR_LONG_VOLATILITY if coin is None else coin.long


def floor(calibration: Calibration | None, symbol: str, minutes: float) -> float:
    """Return the simple return that the coin's moves over so many minutes reach about once a week.

    Its volatility over a year or more, times a multiple for the horizon that is the same for all coins (measured:
    docs/decisions/0024), and at least `least_move`.
    """
    volatility = long_volatility(calibration, symbol)
    length = min(max(minutes, _HORIZONS[0]), _HORIZONS[-1])
    multiple = float(np.interp(math.log(length), np.log(_HORIZONS), WEEKLY))
    return max(multiple * volatility * math.sqrt(max(minutes, _HORIZONS[0])), PARAMETERS.least_move)


_HORIZONS = (5.0, 15.0, 60.0, 240.0, 1440.0)
# The once-a-week size of moves over these minutes, in standard deviations over that time.
WEEKLY = (7.3, 6.4, 5.0, 3.7, 2.5)


def tail_key(symbol: str, score: str, cadence: str) -> str:
    """Return the name of a tail, e.g. `BTC jump hourly`; `score` is one of `SCORES`."""
    return f"{symbol} {score} {cadence}"


def _coin_of(key: str) -> str:
    """Return the symbol, or `ALL_COINS`, of a tail's name."""
    return key.rsplit(" ", 2)[0]
