"""The sentence of each kind of row: what happened, how rare it is, and what the other coins did.

Pure functions of numbers; `narration` reads the numbers. The tests keep one example of each sentence in
`sentences.txt`.
"""

import math
from dataclasses import dataclass
from datetime import datetime

from market_pipeline.anomalies.words.formatting import (
    format_duration,
    format_frequency,
    format_interval,
    format_percent,
    format_price,
    format_ratio,
    format_signed,
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
    def verb(self) -> str:
        """`rose` or `fell`."""
        return "rose" if self.price_after > self.price_before else "fell"

    @property
    def interval(self) -> str:
        """Its start and end."""
        return format_interval(self.start, self.end)

    @property
    def seconds(self) -> float:
        """Its duration."""
        return (self.end - self.start).total_seconds()

    @property
    def duration(self) -> str:
        """Its duration as text."""
        return format_duration(self.seconds)

    def __str__(self) -> str:
        return f"{self.symbol} {self.verb} {format_percent(self.change)} in {self.duration} ({self.interval})"


@dataclass(frozen=True)
class Rarity:
    """Once in how many days it is expected (NaN if unknown), and whether that is from the coin's own history."""

    every_days: float
    from_history: bool

    def of(self, what: str) -> str:
        """Say how often `what` is expected; empty if unknown."""
        if math.isnan(self.every_days):
            return ""
        basis = (
            ", based on the last 90 days"
            if self.from_history
            else (" (estimated from other coins: less than 30 days of history)")
        )
        return f"{what} is expected {format_frequency(self.every_days)}{basis}"

    def of_move(self, move: Move) -> str:
        """Say how often a move like this is expected; empty if unknown."""
        return self.of(f"a move this size in {move.duration}{' at this hour' if move.seconds < 1.5 * 3600 else ''}")


@dataclass(frozen=True)
class OtherCoins:
    """What other coins did over the same time: simple returns, NaN if unknown.

    `leader` is the return of BTC, or of ETH for BTC itself; `median` is the median return of `coins` other coins, and
    `own_share` the part of the move that they do not explain.
    """

    leader: str
    leader_move: float
    median: float
    coins: int
    own_share: float

    def beside(self, symbol: str) -> str:
        """Say what they did and whose move it was; empty if nothing is known."""
        moves = []
        if not math.isnan(self.leader_move):
            moves.append(f"{self.leader} moved {format_signed(self.leader_move)}")
        if not math.isnan(self.median) and self.coins > 1:
            moves.append(f"the median of the {self.coins} other coins was {format_signed(self.median)}")
        whose = ""
        if moves and not math.isnan(self.own_share):
            whose = f", which accounts for {(1 - self.own_share) * 100:.0f}% of the move"
            if self.own_share >= 0.5:
                whose = f", which leaves {self.own_share * 100:.0f}% of the move to {symbol} itself"
        return " and ".join(moves) + whose


def _sentence(*parts: str) -> str:
    return "; ".join(part for part in parts if part) + "."


def move_sentence(move: Move, rarity: Rarity, others: OtherCoins) -> str:
    """Describe a jump."""
    return _sentence(str(move), rarity.of_move(move), others.beside(move.symbol))


def threshold_sentence(move: Move, threshold: float, rarity: Rarity, others: OtherCoins) -> str:
    """Describe a move of the two-point rule, whose threshold is a simple return."""
    reached = f"{move}, at or above the {threshold * 100:g}% threshold"
    return _sentence(reached, rarity.of_move(move), others.beside(move.symbol))


def large_sentence(move: Move, expected: float, rarity: Rarity, others: OtherCoins) -> str:
    """Describe a large move against the usual one over its time by the volatility of the last weeks."""
    usual = "more than usual for that time"
    if expected > 0:
        ratio = format_ratio(abs(move.change) / expected)
        usual = f"{ratio} times the usual {format_percent(expected)} for that time"
    return _sentence(f"{move}, {usual}", rarity.of("a move this large"), others.beside(move.symbol))


def own_sentence(move: Move, rarity: Rarity, others: OtherCoins) -> str:
    """Describe a move that is unusual only relative to the market."""
    return _sentence(str(move), others.beside(move.symbol), rarity.of("a move this far from the market's"))


def gap_sentence(move: Move, rarity: Rarity, others: OtherCoins) -> str:
    """Describe a move over a gap in the quotes; when in the gap it happened is unknown."""
    change = f"{move.symbol} {move.verb} {format_percent(move.change)}"
    over_gap = f"{change} over a gap of {move.duration} without quotes ({move.interval})"
    return _sentence(over_gap, rarity.of_move(move), others.beside(move.symbol))


def bad_tick_sentence(move: Move, undone: float, back: datetime, back_price: float) -> str:
    """Describe a print that the quote at `back` reversed to `back_price`; `undone` is the share of it."""
    side = "above" if move.change > 0 else "below"
    return (
        f"{move.symbol} was quoted at {format_price(move.price_after)} ({move.interval}), "
        f"{format_percent(move.change)} {side} the previous quote; "
        f"{format_duration((back - move.end).total_seconds())} later it was {format_price(back_price)}, reversing "
        f"{format_percent(min(undone, 1.0))} of the move: probably a bad print."
    )


def missing_quotes_sentence(symbol: str, start: datetime, end: datetime, limit_minutes: float) -> str:
    """Describe a feed without quotes from `start` to `end`."""
    return (
        f"{symbol} had no quotes for {format_duration((end - start).total_seconds())} ({format_interval(start, end)}), "
        f"longer than the {format_duration(limit_minutes * 60)} after which its feed counts as stale."
    )


def unchanged_sentence(move: Move, quotes: int, expected: float) -> str:
    """Describe `quotes` quotes with one price, over a time in which `expected` is one standard deviation."""
    return (
        f"{move.symbol} stayed at exactly {format_price(move.price_after)} for {move.duration} and {quotes} quotes "
        f"({move.interval}), although a move of {format_percent(expected)} is usual in that time: its feed seems stale."
    )


def market_sentence(move: Move, members: list[str], known: int, rarity: Rarity, peak: str) -> str:
    """Describe a market event by the coin that moved most; `peak` is of `peak_words`."""
    names = ", ".join(members[:5]) + (f" and {len(members) - 5} more" if len(members) > 5 else "")
    what = (
        f"The market {'rose' if move.change > 0 else 'fell'}: {len(members)} of {known} coins ({names}), "
        f"{move.symbol} by {format_percent(move.change)} in {move.duration} ({move.interval})"
    )
    return _sentence(what, peak, rarity.of("a market move this large"))


def peak_words(symbol: str, change: float, at: datetime, since: datetime) -> str:
    """Say where one coin stood at the peak of an event, which may be on the way back."""
    return f"most unusual at {at:%H:%M} UTC, with {symbol} at {format_signed(change)} since {since:%H:%M}"
