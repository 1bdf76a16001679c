"""The words of each kind of row: a headline (what, how much, when, how rare) and the sentence behind it.

A headline has at most `LONGEST_HEADLINE` characters and is read alone, e.g. in a list or on a phone. The explanation
says what was expected, what the other coins did and what the rarity rests on. What is said of the market follows from
the row's scope, so that words and scope never contradict each other.

Pure functions of numbers; `narration` reads the numbers. The tests keep examples of each kind in `sentences.txt`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from market_pipeline.anomalies.anomaly import Scope
from market_pipeline.anomalies.words.formatting import (
    format_duration,
    format_end,
    format_interval,
    format_percent,
    format_price,
    format_ratio,
    format_signed,
)
from market_pipeline.anomalies.words.rarity import Rarity
from market_pipeline.core.wording import some

LONGEST_HEADLINE = 140
# Of a coin's own move the market explains less than this.
_HALF = 0.5
_NONE = 0.05
_MOST_NAMED = 3
_NOT_THE_MARKETS = "The market does not explain it"


@dataclass(frozen=True)
class Move:
    """A move from one quote to another: a simple return, prices in US dollars, aware times.

    `expected` is one standard deviation of the return over that time, NaN if unknown.
    """

    symbol: str
    change: float
    price_before: float
    price_after: float
    start: datetime
    end: datetime
    expected: float = math.nan

    @property
    def duration(self) -> str:
        """How long it took."""
        return format_duration((self.end - self.start).total_seconds())

    @property
    def verb(self) -> str:
        """`rose` or `fell`."""
        return "rose" if self.change > 0 else "fell"

    @property
    def over_time(self) -> str:
        """How long it took and when it ended: `in the 5 min to 04:15 UTC`."""
        return _over_time(self.start, self.end)

    @property
    def facts(self) -> str:
        """Prices, times and the usual move."""
        text = f"From {format_price(self.price_before)} to {format_price(self.price_after)}"
        text += f", {format_interval(self.start, self.end)}"
        if not self.expected > 0:
            return f"{text}."
        ratio = format_ratio(abs(self.change) / self.expected)
        return f"{text}: {ratio} times the usual {format_percent(self.expected)}."


@dataclass(frozen=True)
class OtherCoins:
    """What other coins did over the same time: simple returns, NaN if unknown.

    `leader` is BTC, or ETH for BTC itself; `median` is of `coins` other coins, `share` the part of the move that they
    explain.
    """

    scope: Scope
    leader: str = "BTC"
    leader_move: float = math.nan
    median: float = math.nan
    coins: int = 0
    share: float = math.nan

    @property
    def are_enough(self) -> bool:
        """Whether their median speaks for the market."""
        return self.scope is not Scope.UNKNOWN and not math.isnan(self.median)

    def share_of(self, change: float) -> float:
        """Return the market's move as a multiple of `change`; NaN if unknown."""
        return self.median / change if change else math.nan

    def sentence(self, change: float) -> str:
        """Say what they did during a move of `change` and whose move it was; empty if nothing is known."""
        moves = []
        if not math.isnan(self.leader_move):
            moves.append(f"{self.leader} {format_signed(self.leader_move)}")
        if not math.isnan(self.median) and self.coins > 1:
            moves.append(f"the median of {self.coins} others {format_signed(self.median)}")
        whose = self._whose()
        if not moves or (self.scope is Scope.MARKET and self.share_of(change) <= 0):
            return f"{whose}." if whose else ""
        return f"{whose or 'At the same time'}: {', '.join(moves)}."

    def _whose(self) -> str:
        """Return whose move it was, by the scope; a share that says otherwise is left out."""
        if self.scope is Scope.MARKET:
            return "The market moved with it"
        if self.scope is Scope.MIXED:
            return "The market explains part of it"
        if self.scope is Scope.UNKNOWN:
            return ""
        if self.share <= _NONE:
            return "Nearly all of it is its own"
        return f"About {format_percent(1 - self.share)} of it is its own" if self.share < _HALF else _NOT_THE_MARKETS


@dataclass(frozen=True)
class Silence:
    """A time (aware) without news of some coins, named after the first; flagged from `limit_minutes` on."""

    symbols: Sequence[str]
    start: datetime
    end: datetime
    limit_minutes: float

    @property
    def who(self) -> str:
        """Up to three coins by name, or how many of them."""
        *most, last = self.symbols
        if len(most) >= _MOST_NAMED:
            return f"{len(self.symbols)} coins"
        return f"{', '.join(most)} and {last}" if most else last

    @property
    def names(self) -> str:
        """The coins, or the first of them."""
        return some(self.symbols)

    @property
    def over_time(self) -> str:
        """How long it was and when it ended: `in the 45 min to 04:55 UTC`."""
        return _over_time(self.start, self.end)

    @property
    def interval(self) -> str:
        """Its start and end."""
        return format_interval(self.start, self.end)

    @property
    def limit(self) -> str:
        """The limit as text."""
        return format_duration(60 * self.limit_minutes)


def _over_time(start: datetime, end: datetime) -> str:
    return f"in the {format_duration((end - start).total_seconds())} to {format_end(start, end)}"


def _fitted(core: str, *additions: str) -> str:
    """Join a headline; of additions that do not fit the first ones are dropped."""
    for first in range(len(additions) + 1):
        text = core + "".join(additions[first:]) + "."
        if len(text) <= LONGEST_HEADLINE:
            break
    return text


def _rare(rarity: Rarity) -> str:
    return f"; {rarity}" if str(rarity) else ""


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def move_headline(move: Move, others: OtherCoins, rarity: Rarity) -> str:
    """Tell a move of one coin: a jump, a large move or one against the market."""
    return _move_headline(move, others, _rare(rarity))


def threshold_headline(move: Move, others: OtherCoins, threshold: float) -> str:
    """Tell a move of the two-point rule, whose threshold is a simple return."""
    return _move_headline(move, others, f", reaching your {threshold * 100:g}% threshold")


def _move_headline(move: Move, others: OtherCoins, closing: str) -> str:
    market = format_signed(others.median) if others.are_enough else ""
    subject, beside = move.symbol, f" (market {market})" if market else ""
    if others.scope is Scope.MARKET:
        beside = f", with the market ({market})" if others.share_of(move.change) > 0 else ", with the market"
    elif others.scope is Scope.IDIOSYNCRATIC:
        if others.share_of(move.change) >= _HALF:
            beside = f", beyond the market's {market}"
        else:
            subject = f"{move.symbol} alone"
    return _fitted(f"{subject} {move.verb} {format_percent(move.change)} {move.over_time}", beside, closing)


def move_explanation(move: Move, others: OtherCoins, rarity: Rarity) -> str:
    """Explain a move of one coin."""
    return _joined(move.facts, others.sentence(move.change), rarity.foundation)


def gap_headline(move: Move, rarity: Rarity) -> str:
    """Tell a move over a gap in the quotes; when in the gap it happened is unknown."""
    core = f"{move.symbol} {move.verb} {format_percent(move.change)} over {move.duration} without quotes"
    return _fitted(f"{core}, to {format_end(move.start, move.end)}", _rare(rarity))


def market_headline(move: Move, leader: str, leader_change: float, rarity: Rarity) -> str:
    """Tell a market event by the median `move` of its coins; `leader` moved most."""
    core = f"Market {move.verb} {format_percent(move.change)} {move.over_time}"
    led = f", led by {leader} ({format_signed(leader_change)})" if leader_change * move.change > 0 else ""
    return _fitted(core, led, _rare(rarity))


def market_explanation(move: Move, members: Sequence[tuple[str, float]], coins: int, rarity: Rarity) -> str:
    """Explain a market event by the moves of its `members`, of `coins` that were quoted."""
    listed = some(f"{symbol} {format_signed(change)}" for symbol, change in members)
    what = f"{len(members)} of {coins} coins {move.verb}, {format_interval(move.start, move.end)}: {listed}."
    return _joined(what, rarity.foundation)


def bad_tick_headline(move: Move, back: datetime, back_price: float) -> str:
    """Tell a print that the quote at `back` reversed to `back_price`."""
    side = "above" if move.change > 0 else "below"
    wait = format_duration((back - move.end).total_seconds())
    when = format_end(move.end, move.end)
    core = f"{move.symbol} was quoted {format_percent(move.change)} {side} its last price at {when}"
    return _fitted(core, f", {wait} later back at {format_price(back_price)}", ": probably a bad print")


def bad_tick_explanation(move: Move, reversed_share: float, back: datetime, back_price: float) -> str:
    """Explain it; `reversed_share` is the part of the move that was reversed."""
    return (
        f"{format_price(move.price_before)}, then {format_price(move.price_after)}, then {format_price(back_price)} "
        f"({format_interval(move.start, back)}): {format_percent(min(reversed_share, 1.0))} of the move was reversed."
    )


def missing_quotes_headline(silence: Silence) -> str:
    """Tell a feed without quotes."""
    return _fitted(f"{silence.who} had no quotes {silence.over_time}")


def missing_quotes_explanation(silence: Silence) -> str:
    """Explain it by the limit."""
    return f"{silence.names}: no quotes, {silence.interval}; after {silence.limit} without one a feed counts as stale."


def unchanged_headline(silence: Silence, price: float) -> str:
    """Tell a feed whose quotes repeat one price."""
    stayed = "stayed unchanged" if len(silence.symbols) > 1 else f"stayed at {format_price(price)}"
    return _fitted(f"{silence.who} {stayed} {silence.over_time}", ": stale feed")


def unchanged_explanation(silence: Silence, price: float, flagged_after: float, expected: float) -> str:
    """Explain it: flagged after so many seconds, in which `expected` is one standard deviation of the return."""
    usual = f", in which {format_percent(expected)} is usual" if expected > 0 else ""
    return (
        f"{silence.names}: no change, {silence.symbols[0]} at exactly {format_price(price)}, {silence.interval}; "
        f"flagged after {format_duration(flagged_after)}{usual}."
    )
