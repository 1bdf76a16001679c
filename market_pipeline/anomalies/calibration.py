"""What is usual, learned from the past: hour factors, the level of each coin, and the tails of the scores.

A calibration knows only quotes before its as-of time. Stored and never changed, it lets a past day be
scored again with what was known then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone

import numpy as np

from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.anomalies.scores.hours import HOURS
from market_pipeline.anomalies.scores.returns import Floats
from market_pipeline.anomalies.scores.tails import Tail

# The tail of all coins together, for a coin with too little past of its own.
ALL = "*"
GPD, PRIOR = "gpd", "prior"


@dataclass(frozen=True)
class CoinCalibration:
    """One coin: log volatility per square root of a minute, and 21 quantiles (0 %, 5 %, ...) of the annual one."""

    level: float
    volatility_quantiles: tuple[float, ...]
    quotes: int
    days: float


@dataclass(frozen=True)
class Calibration:
    """`hours` are 24 factors (UTC). `tails` are by coin and score, as in `tail_key`; `ALL` stands for all coins.

    `as_of` is kept in UTC: only quotes before it were used. Raises ValueError if it has no time zone or `hours`
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
        # In UTC also to compare: by Python's rules a time that a zone's clock skipped equals no other.
        object.__setattr__(self, "as_of", self.as_of.astimezone(timezone.utc))
        if len(self.hours) != HOURS or not all(factor > 0 for factor in self.hours):
            raise ValueError(f"{len(self.hours)} hour factors {self.hours}: there must be 24, all above zero")

    def of(self, symbol: str) -> Calibration:
        """What it says of one coin, with the hours and the tails that hold for all."""
        coins = {symbol: self.coins[symbol]} if symbol in self.coins else {}
        tails = {key: tail for key, tail in self.tails.items() if _coin_of(key) in (symbol, ALL)}
        return replace(self, coins=coins, tails=tails)

    @staticmethod
    def joined(parts: Sequence[Calibration]) -> Calibration:
        """One calibration out of those of several coins (at least one) with the same as-of time.

        The hours and the tails that hold for all are the first one's; those that were made together have the same.
        """
        coins = {symbol: coin for part in parts for symbol, coin in part.coins.items()}
        own = {key: tail for part in parts for key, tail in part.tails.items() if _coin_of(key) != ALL}
        return replace(parts[0], coins=coins, tails={**parts[0].of(ALL).tails, **own})

    def to_json(self) -> str:
        """The calibration as one JSON document that `from_json` reads back unchanged."""
        return json.dumps({**asdict(self), "as_of": self.as_of.isoformat()})

    @staticmethod
    def from_json(text: str) -> Calibration:
        """Raises ValueError if `text` is not a calibration written by `to_json`."""
        try:
            found = json.loads(text)
            return Calibration(
                as_of=datetime.fromisoformat(found["as_of"]),
                hours=tuple(found["hours"]),
                coins={
                    symbol: CoinCalibration(
                        coin["level"], tuple(coin["volatility_quantiles"]), coin["quotes"], coin["days"]
                    )
                    for symbol, coin in found["coins"].items()
                },
                tails={key: Tail(**tail) for key, tail in found["tails"].items()},
                detector_version=found["detector_version"],
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"this is not a calibration of this package: {error!r}") from None

    def tail(self, symbol: str, score: str, interval: str) -> Tail | None:
        """The tail of a coin's score for `interval` short or long; that of all coins where its own is missing."""
        own = self.tails.get(tail_key(symbol, score, interval))
        return own or self.tails.get(tail_key(ALL, score, interval))

    def volatility_percentiles(self, symbol: str, annual: Floats) -> Floats:
        """The percent of the coin's past that was calmer than `annual` (0.6 is 60 % a year); NaN if not known."""
        coin = self.coins.get(symbol)
        if coin is None:
            return np.full(len(annual), np.nan)
        quantiles = np.array(coin.volatility_quantiles)
        percentiles: Floats = np.interp(annual, quantiles, np.linspace(0, 100, len(quantiles)))
        return percentiles


def tail_key(symbol: str, score: str, interval: str) -> str:
    """`BTC jump short`: the name of a tail; `score` is jump, large_move, residual or market."""
    return f"{symbol} {score} {interval}"


def _coin_of(key: str) -> str:
    """The symbol, or `ALL`, whose tail has this name."""
    return key.rsplit(" ", 2)[0]
