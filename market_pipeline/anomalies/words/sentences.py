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

LONGEST_HEADLINE = 140
# Of a coin's own move the market explains less than this.
_HALF = 0.5
_NOT_THE_MARKETS = "The market does not explain it"
_MOST_MEMBERS = 5


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
        return f"in the {self.duration} to {format_end(self.start, self.end)}"

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
        return f"About {format_percent(1 - self.share)} of it is its own" if self.share < _HALF else _NOT_THE_MARKETS


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
    return _joined(move.facts, others.sentence(move.change), rarity.rests_on("its own"))


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
    listed = ", ".join(f"{symbol} {format_signed(change)}" for symbol, change in members[:_MOST_MEMBERS])
    more = f" and {len(members) - _MOST_MEMBERS} more" if len(members) > _MOST_MEMBERS else ""
    what = f"{len(members)} of {coins} coins {move.verb}, {format_interval(move.start, move.end)}: {listed}{more}."
    return _joined(what, rarity.rests_on("the market's"))


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


def missing_quotes_headline(symbol: str, start: datetime, end: datetime) -> str:
    """Tell a feed without quotes from `start` to `end`."""
    duration = format_duration((end - start).total_seconds())
    return _fitted(f"{symbol} had no quotes in the {duration} to {format_end(start, end)}")


def missing_quotes_explanation(start: datetime, end: datetime, limit_minutes: float) -> str:
    """Explain it; a feed counts as stale after `limit_minutes`."""
    limit = format_duration(limit_minutes * 60)
    return f"No quotes, {format_interval(start, end)}; after {limit} without a quote its feed counts as stale."


def unchanged_headline(move: Move, quotes: int) -> str:
    """Tell `quotes` quotes with one price."""
    core = f"{move.symbol} stayed at {format_price(move.price_after)} {move.over_time}"
    return _fitted(core, f" ({quotes:,} quotes)", ": its feed seems stale")


def unchanged_explanation(move: Move, quotes: int) -> str:
    """Explain it by the usual move over that time."""
    return (
        f"{quotes:,} quotes of exactly {format_price(move.price_after)}, {format_interval(move.start, move.end)}, "
        f"although a move of {format_percent(move.expected)} is usual in that time."
    )
