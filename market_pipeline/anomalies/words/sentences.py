"""The parts that the sentences of rows are made of: the move, how rare it is, what others did."""

import math
from dataclasses import dataclass
from datetime import datetime

from market_pipeline.anomalies.words.formatting import (
    format_duration,
    format_interval,
    format_percent,
    format_price,
    format_ratio,
    format_signed,
    format_wait,
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
class OtherCoins:
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


def beside(symbol: str, company: OtherCoins) -> str:
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


def move_sentence(move: Move, rarity: Rarity, company: OtherCoins) -> str:
    """`SOL fell 15.2 % in 5 min (2023-06-10 04:10-04:15 UTC); a move this size over 5 min at this hour is
    expected once in 4 years given the last 90 days; BTC moved -1.5 %, so 90 % of it is SOL's own.`"""
    return join(what(move), move_rarity(move, rarity), beside(move.symbol, company))


def limit_sentence(move: Move, limit: float, rarity: Rarity, company: OtherCoins) -> str:
    """A move of the two-point rule, whose limit is a simple return."""
    reached = f"{what(move)}, which reaches the {limit * 100:g} % limit"
    return join(reached, move_rarity(move, rarity), beside(move.symbol, company))


def large_sentence(move: Move, expected: float, rarity: Rarity, company: OtherCoins) -> str:
    """A large move against what is usual over its time by the volatility of the last weeks."""
    ratio = f"{what(move)}, {against(move.change, expected)}"
    return join(ratio, rarity_words("a quote after so large a move", rarity), beside(move.symbol, company))


def own_sentence(move: Move, rarity: Rarity, company: OtherCoins) -> str:
    """A move that is unusual only beside the market."""
    rare = rarity_words("as much apart from the market", rarity)
    return join(what(move), beside(move.symbol, company), rare)


def gap_sentence(move: Move, rarity: Rarity, company: OtherCoins) -> str:
    """A move over a gap, of which nobody knows when in it it happened."""
    told = f"{move.symbol} {verb(move)} {format_percent(move.change)} over a gap of {length(move)}"
    when = f"{told} without quotes ({format_interval(move.start, move.end)})"
    return join(when, move_rarity(move, rarity), beside(move.symbol, company))


def bad_tick_sentence(move: Move, undone: float, back: datetime, back_price: float) -> str:
    """A print that the quote at `back` took back to `back_price`; `undone` is the share of it."""
    side = "above" if move.change > 0 else "below"
    share = format_percent(min(undone, 1.0))
    when, wait = format_interval(move.start, move.end), format_duration((back - move.end).total_seconds())
    return (
        f"{move.symbol} was quoted at {format_price(move.price_after)} ({when}), "
        f"{format_percent(move.change)} {side} the quote before; {wait} later it was "
        f"{format_price(back_price)}, which undid {share} of it, so it looks like a bad print."
    )


def gap_in_feed_sentence(symbol: str, start: datetime, end: datetime, limit_minutes: float) -> str:
    """No quotes from `start` to `end`."""
    silence = format_duration((end - start).total_seconds())
    limit = format_duration(limit_minutes * 60)
    return (
        f"{symbol} had no quotes for {silence} ({format_interval(start, end)}), "
        f"longer than the {limit} after which its feed counts as standing still."
    )


def still_sentence(move: Move, quotes: int, expected: float) -> str:
    """`quotes` quotes with the same price, over a time in which `expected` is one standard deviation."""
    when = format_interval(move.start, move.end)
    return (
        f"{move.symbol} stayed at exactly {format_price(move.price_after)} for {length(move)} and {quotes} "
        f"quotes ({when}), although {format_percent(expected)} is usual over that time: its feed seems to "
        "stand still."
    )


def market_sentence(move: Move, moved: list[str], known: int, rarity: Rarity, peak: str) -> str:
    """A market event by the coin that moved most; `moved` are its members, `peak` is of `peak_words`."""
    direction = "rose" if move.change > 0 else "fell"
    names = ", ".join(moved[:5]) + (f" and {len(moved) - 5} more" if len(moved) > 5 else "")
    what = (
        f"The market {direction}: {len(moved)} of {known} coins ({names}), {move.symbol} by "
        f"{format_percent(move.change)} in {length(move)} ({format_interval(move.start, move.end)})"
    )
    return join(what, peak, rarity_words("a quote after such a move of the market", rarity))


def peak_words(symbol: str, change: float, at: datetime, since: datetime) -> str:
    """Where one coin stood at the peak of an event; that may be the way back, so it need not be further."""
    return f"most unusual at {at:%H:%M} UTC, with {symbol} at {format_signed(change)} since {since:%H:%M}"
