"""Which sentence a candidate gets, and the numbers in it, read from the score table."""

from __future__ import annotations

import math
from statistics import median

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.rules.candidate import Candidate
from market_pipeline.anomalies.rules.flags import move_between, simple_return
from market_pipeline.anomalies.rules.peers import moves_between, slow_volatility
from market_pipeline.anomalies.rules.score_table import ScoreTable
from market_pipeline.anomalies.words.sentences import (
    Move,
    OtherCoins,
    Rarity,
    bad_tick_sentence,
    gap_in_feed_sentence,
    gap_sentence,
    large_sentence,
    limit_sentence,
    market_sentence,
    move_sentence,
    own_sentence,
    peak_words,
    still_sentence,
)

_LEADER, _SECOND = "BTC", "ETH"


def narrate(table: ScoreTable, candidate: Candidate, expected_move: float, every_days: float) -> str:
    """The sentence of `candidate`; `expected_move` is one sigma over its time, NaN if not known."""
    move = _move(table, candidate.before, candidate.at)
    rarity = Rarity(every_days, from_past=table.scores["calibration"][candidate.at] == "gpd")
    kind = candidate.kind
    if kind is Kind.BAD_TICK:
        assert candidate.until is not None
        back = candidate.until
        return bad_tick_sentence(move, candidate.score, table.time(back), table.price(back))
    if kind is Kind.STALE_FEED:
        if candidate.at - candidate.before == 1 and math.isnan(candidate.p_raw):
            return gap_in_feed_sentence(move.symbol, move.start, move.end, candidate.threshold)
        return still_sentence(move, candidate.at - candidate.before + 1, expected_move)
    if kind is Kind.MARKET_MOVE:
        known = len(table.symbols)
        return market_sentence(move, list(candidate.members), known, rarity, _peak(table, candidate))
    company = _company(table, candidate)
    if kind is Kind.LARGE_MOVE:
        return large_sentence(move, expected_move, rarity, company)
    if kind is Kind.USER_THRESHOLD:
        return limit_sentence(move, candidate.threshold, rarity, company)
    sentences = {Kind.IDIOSYNCRATIC: own_sentence, Kind.GAP_MOVE: gap_sentence}
    return sentences.get(kind, move_sentence)(move, rarity, company)


def _move(table: ScoreTable, before: int, after: int) -> Move:
    return Move(
        symbol=table.symbol(after),
        change=move_between(table, before, after),
        price_before=table.price(before),
        price_after=table.price(after),
        start=table.time(before),
        end=table.time(after),
    )


def _company(table: ScoreTable, candidate: Candidate) -> OtherCoins:
    """What BTC (for BTC itself ETH) and the median of the others did over the time of the move."""
    symbol = table.symbol(candidate.at)
    leader = _SECOND if symbol == _LEADER else _LEADER
    start, end = int(table.moments[candidate.before]), int(table.moments[candidate.at])
    moves = moves_between(table, start, end, slow_volatility).log_move.tolist()
    leader_move = moves[table.symbols.index(leader)] if leader in table.symbols else math.nan
    del moves[table.code(candidate.at)]
    known = [move for move in moves if not math.isnan(move)]
    return OtherCoins(
        leader=leader,
        leader_move=simple_return(leader_move),
        median=simple_return(median(known)) if known else math.nan,
        coins=len(known),
        own_share=math.nan if candidate.market is None else 1 - candidate.market.share,
    )


def _peak(table: ScoreTable, candidate: Candidate) -> str:
    """Where the coin of a market event stood at the event's peak, if that came later."""
    if candidate.until is None or table.moments[candidate.until] <= table.moments[candidate.at]:
        return ""
    position = int(table.latest(int(table.moments[candidate.until]))[table.code(candidate.at)])
    change = move_between(table, candidate.before, position)
    return peak_words(
        table.symbol(candidate.at), change, table.time(candidate.until), table.time(candidate.before)
    )
