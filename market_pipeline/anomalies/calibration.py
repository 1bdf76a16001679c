"""A calibration: hour factors, the volatility level of each coin, and the tails of the scores.

It is learned (in `scores/learning.py`) only from quotes before its as-of time. It is stored and immutable, so that a
past day is scored again with what was known then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone

import numpy as np

from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.anomalies.scores.hours import HOURS
from market_pipeline.anomalies.scores.tails import Tail
from market_pipeline.anomalies.series import Floats

# The symbol of the tails of all coins pooled, for coins with too little history.
ALL_COINS = "*"
# Where a probability comes from: a fitted generalised Pareto tail, or the prior.
GPD, PRIOR = "gpd", "prior"


@dataclass(frozen=True)
class CoinCalibration:
    """One coin: log volatility per square root of a minute, and 21 quantiles (0%, 5%, ...) of annual volatility."""

    level: float
    volatility_quantiles: tuple[float, ...]
    quotes: int
    days: float


@dataclass(frozen=True)
class Calibration:
    """24 hour factors (UTC), what is known of each coin, and tails named by `tail_key`.

    `as_of` is converted to UTC; only quotes before it were used. Raises ValueError if it has no time zone or `hours`
    are not 24 numbers above zero.
    """

    as_of: datetime
    hours: tuple[float, ...]
    coins: Mapping[str, CoinCalibration] = field(default_factory=dict)
    tails: Mapping[str, Tail] = field(default_factory=dict)
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
        return replace(self, coins=coins, tails=tails)

    @staticmethod
    def joined(parts: Sequence[Calibration]) -> Calibration:
        """Join the parts of several coins (at least one) with the same as-of time.

        The hours and the pooled tails are taken from the first part; parts made together share them.
        """
        coins = {symbol: coin for part in parts for symbol, coin in part.coins.items()}
        own = {key: tail for part in parts for key, tail in part.tails.items() if _coin_of(key) != ALL_COINS}
        return replace(parts[0], coins=coins, tails={**parts[0].of(ALL_COINS).tails, **own})

    def to_json(self) -> str:
        """Return a JSON document that `from_json` reads back unchanged."""
        return json.dumps({**asdict(self), "as_of": self.as_of.isoformat()})

    @staticmethod
    def from_json(text: str) -> Calibration:
        """Read a document of `to_json`; raises ValueError if it is not one."""
        try:
            document = json.loads(text)
            return Calibration(
                as_of=datetime.fromisoformat(document["as_of"]),
                hours=tuple(document["hours"]),
                coins={
                    symbol: CoinCalibration(
                        coin["level"], tuple(coin["volatility_quantiles"]), coin["quotes"], coin["days"]
                    )
                    for symbol, coin in document["coins"].items()
                },
                tails={key: Tail(**tail) for key, tail in document["tails"].items()},
                detector_version=document["detector_version"],
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"this is not a calibration of this package: {error!r}") from None

    def tail(self, symbol: str, score: str, interval: str) -> Tail | None:
        """Return the tail of a coin's score for `interval` short or long, else that of all coins, else None."""
        own = self.tails.get(tail_key(symbol, score, interval))
        return own or self.tails.get(tail_key(ALL_COINS, score, interval))

    def volatility_percentiles(self, symbol: str, annual: Floats) -> Floats:
        """Return the percentage of the coin's past calmer than `annual` (0.6 is 60% a year); NaN if unknown."""
        coin = self.coins.get(symbol)
        if coin is None:
            return np.full(len(annual), np.nan)
        quantiles = np.array(coin.volatility_quantiles)
        percentiles: Floats = np.interp(annual, quantiles, np.linspace(0, 100, len(quantiles)))
        return percentiles


def tail_key(symbol: str, score: str, interval: str) -> str:
    """Return the name of a tail, e.g. `BTC jump short`; `score` is jump, large_move, residual or market."""
    return f"{symbol} {score} {interval}"


def _coin_of(key: str) -> str:
    """Return the symbol, or `ALL_COINS`, of a tail's name."""
    return key.rsplit(" ", 2)[0]
