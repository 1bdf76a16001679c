"""Choose the sentence of a candidate and read its numbers from the score table."""

from __future__ import annotations

import math
from statistics import median

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.calibration import GPD
from market_pipeline.anomalies.rules.candidate import Candidate
from market_pipeline.anomalies.rules.peers import moves_between, slow_volatility
from market_pipeline.anomalies.rules.score_table import ScoreTable, simple_return
from market_pipeline.anomalies.words import sentences
from market_pipeline.anomalies.words.sentences import Move, OtherCoins, Rarity

_LEADER, _SECOND = "BTC", "ETH"


def narrate(table: ScoreTable, candidate: Candidate, expected_move: float, every_days: float) -> str:
    """Return the sentence of `candidate`; `expected_move` is one standard deviation over its time, NaN if unknown."""
    at, before, kind = candidate.at, candidate.before, candidate.kind
    move = Move(
        symbol=table.symbol(at),
        change=table.move(before, at),
        price_before=table.price(before),
        price_after=table.price(at),
        start=table.time(before),
        end=table.time(at),
    )
    rarity = Rarity(every_days, from_history=table.scores["calibration"][at] == GPD)
    if kind is Kind.BAD_TICK and candidate.until is not None:
        back = candidate.until
        return sentences.bad_tick_sentence(move, candidate.score, table.time(back), table.price(back))
    if kind is Kind.STALE_FEED:
        if at - before == 1 and math.isnan(candidate.p_raw):
            return sentences.missing_quotes_sentence(move.symbol, move.start, move.end, candidate.threshold)
        return sentences.unchanged_sentence(move, at - before + 1, expected_move)
    if kind is Kind.MARKET_MOVE:
        members, known = list(candidate.members), len(table.symbols)
        return sentences.market_sentence(move, members, known, rarity, _peak(table, candidate))
    others = _other_coins(table, candidate)
    if kind is Kind.LARGE_MOVE:
        return sentences.large_sentence(move, expected_move, rarity, others)
    if kind is Kind.USER_THRESHOLD:
        return sentences.threshold_sentence(move, candidate.threshold, rarity, others)
    by_kind = {Kind.IDIOSYNCRATIC: sentences.own_sentence, Kind.GAP_MOVE: sentences.gap_sentence}
    return by_kind.get(kind, sentences.move_sentence)(move, rarity, others)


def _other_coins(table: ScoreTable, candidate: Candidate) -> OtherCoins:
    symbol = table.symbol(candidate.at)
    leader = _SECOND if symbol == _LEADER else _LEADER
    start, end = table.moment(candidate.before), table.moment(candidate.at)
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
    """Say where the coin of a market event stood at the event's peak, if that came later."""
    if candidate.until is None or table.moments[candidate.until] <= table.moments[candidate.at]:
        return ""
    position = int(table.latest(table.moment(candidate.until))[table.code(candidate.at)])
    change = table.move(candidate.before, position)
    since = table.time(candidate.before)
    return sentences.peak_words(table.symbol(candidate.at), change, table.time(candidate.until), since)
