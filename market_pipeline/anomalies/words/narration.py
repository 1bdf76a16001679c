"""Choose the words of a candidate and read their numbers from the score table."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.rules.candidate import Candidate, MarketContext
from market_pipeline.anomalies.rules.peers import moves_between, slow_volatility
from market_pipeline.anomalies.rules.score_table import ScoreTable, simple_return
from market_pipeline.anomalies.words import sentences
from market_pipeline.anomalies.words.rarity import Rarity
from market_pipeline.anomalies.words.sentences import Move, OtherCoins, Silence

_LEADER, _SECOND = "BTC", "ETH"


class Story(NamedTuple):
    """The words of a row."""

    headline: str
    explanation: str


def narrate(table: ScoreTable, candidate: Candidate, expected_move: float, rarity: Rarity) -> Story:
    """Return the words of `candidate`; `expected_move` is one standard deviation over its time, NaN if unknown."""
    kind = candidate.kind
    if kind is Kind.MARKET_MOVE:
        return _market_story(table, candidate, rarity)
    move = _move(table, candidate.before, candidate.end, expected_move)
    if kind is Kind.BAD_TICK and candidate.until is not None:
        back = table.time(candidate.until), table.price(candidate.until)
        return Story(
            sentences.bad_tick_headline(move, *back), sentences.bad_tick_explanation(move, candidate.score, *back)
        )
    if kind is Kind.STALE_FEED:
        return _silence_story(candidate, move)
    others = _other_coins(table, candidate)
    if kind is Kind.USER_THRESHOLD:
        headline = sentences.threshold_headline(move, others, candidate.threshold)
    elif kind is Kind.GAP_MOVE:
        headline = sentences.gap_headline(move, rarity)
    else:
        headline = sentences.move_headline(move, others, rarity)
    return Story(headline, sentences.move_explanation(move, others, rarity))


def _silence_story(candidate: Candidate, move: Move) -> Story:
    """Tell a stale feed by the whole silence so far, of which `move` is the part up to the flagged quote."""
    end = move.start + timedelta(minutes=candidate.score)
    silence = Silence(candidate.members or (move.symbol,), move.start, end, candidate.threshold)
    if math.isnan(candidate.p_raw):
        return Story(sentences.missing_quotes_headline(silence), sentences.missing_quotes_explanation(silence))
    flagged_after = (move.end - move.start).total_seconds()
    return Story(
        sentences.unchanged_headline(silence, move.price_after),
        sentences.unchanged_explanation(silence, move.price_after, flagged_after, move.expected),
    )


def _move(table: ScoreTable, before: int, after: int, expected_move: float) -> Move:
    return Move(
        symbol=table.symbol(after),
        change=table.move(before, after),
        price_before=table.price(before),
        price_after=table.price(after),
        start=table.time(before),
        end=table.time(after),
        expected=expected_move,
    )


def _other_coins(table: ScoreTable, candidate: Candidate) -> OtherCoins:
    symbol = table.symbol(candidate.at)
    leader = _SECOND if symbol == _LEADER else _LEADER
    market = candidate.market or MarketContext(Scope.UNKNOWN)
    return OtherCoins(
        scope=market.scope,
        leader=leader,
        leader_move=_returns(table, candidate).get(leader, math.nan),
        median=market.market_move,
        coins=market.coins - 1,
        share=market.share,
    )


def _market_story(table: ScoreTable, candidate: Candidate, rarity: Rarity) -> Story:
    """Tell an event by the median move of its coins up to its peak, beside those of its members."""
    market = candidate.market or MarketContext(Scope.MARKET)
    move = replace(_move(table, candidate.before, candidate.end, math.nan), change=market.market_move)
    returns = _returns(table, candidate)
    members = [(symbol, returns[symbol]) for symbol in candidate.members if returns.get(symbol, 0.0) * move.change > 0]
    # The members column has them by standard deviations; to a person the largest fall leads.
    members.sort(key=lambda member: -abs(member[1]))
    leader = members[0] if members else ("", math.nan)
    return Story(
        sentences.market_headline(move, *leader, rarity),
        sentences.market_explanation(move, members, market.coins, rarity),
    )


def _returns(table: ScoreTable, candidate: Candidate) -> dict[str, float]:
    """Return the simple return of each coin over the time of the move, where it is known."""
    start, end = table.moment(candidate.before), table.moment(candidate.end)
    if candidate.market is not None and candidate.market.span is not None:
        # Of an event: the quotes of its first coin may lie beside its ends.
        start, end = candidate.market.span
    moves = moves_between(table, start, end, slow_volatility).log_move.tolist()
    pairs = zip(table.symbols, moves, strict=True)
    return {symbol: simple_return(move) for symbol, move in pairs if not math.isnan(move)}
