"""The parts that the sentences of rows are made of: the move, how rare it is, what others did."""

import math
from dataclasses import dataclass
from datetime import datetime

from market_pipeline.anomalies.words.wording import (
    format_duration, format_interval, format_percent, format_ratio, format_signed, format_wait,
)


@dataclass(frozen=True)
class Move:
    """A move from one quote to another: a simple return, prices in US dollars, aware times."""

    symbol: str
    change: float
    price_before: float
    price_after: float
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()


@dataclass(frozen=True)
class Rarity:
    """Once in how many days it is expected (NaN if not known), and whether the past says so or a prior."""

    every_days: float
    from_past: bool


@dataclass(frozen=True)
class Company:
    """What others did over the same time: simple returns, NaN if not known.

    `leader` is BTC, or ETH beside BTC itself; `median` that of `coins` other coins, and `own_share` the
    part of the move that they leave to the coin.
    """

    leader: str
    leader_move: float
    median: float
    coins: int
    own_share: float


def join(*parts: str) -> str:
    return "; ".join(part for part in parts if part) + "."


def what(move: Move) -> str:
    return (
        f"{move.symbol} {verb(move)} {format_percent(move.change)} in {length(move)} "
        f"({format_interval(move.start, move.end)})"
    )


def verb(move: Move) -> str:
    return "rose" if move.price_after > move.price_before else "fell"


def length(move: Move) -> str:
    return format_duration(move.seconds)


def against(change: float, expected: float) -> str:
    """The ratio of the two printed percents."""
    if not expected > 0:
        return "more than is usual over that time"
    ratio = format_ratio(abs(change) / expected)
    return f"{ratio} times the {format_percent(expected)} that is usual over that time"


def move_rarity(move: Move, rarity: Rarity) -> str:
    at_hour = " at this hour" if move.seconds < 1.5 * 3600 else ""
    return rarity_words(f"a move this size over {length(move)}{at_hour}", rarity)


def rarity_words(what: str, rarity: Rarity) -> str:
    if math.isnan(rarity.every_days):
        return ""
    basis = "given the last 90 days" if rarity.from_past else (
        "by a general law of rare moves, as its own past is too short to tell"
    )
    return f"{what} is expected {format_wait(rarity.every_days)} {basis}"


def beside(symbol: str, company: Company) -> str:
    """What BTC and the others did; empty if nothing is known of them."""
    told = []
    if not math.isnan(company.leader_move):
        told.append(f"{company.leader} moved {format_signed(company.leader_move)}")
    if not math.isnan(company.median) and company.coins > 1:
        told.append(f"the median of the {company.coins} other coins {format_signed(company.median)}")
    if not told:
        return ""
    return " and ".join(told) + _whose(symbol, company.own_share)


def _whose(symbol: str, own_share: float) -> str:
    if math.isnan(own_share):
        return ""
    if own_share >= 0.5:
        return f", so by their usual moves {own_share * 100:.0f} % of it is {symbol}'s own"
    return f", so by their usual moves {(1 - own_share) * 100:.0f} % of it is the market's"
