"""The stretches for which the source gave no prices: remembered until it is to be asked again."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from market_pipeline.core.symbols import Coin
from market_pipeline.logs import get_logger
from market_pipeline.prices.absences import Absence, Answered, revised
from market_pipeline.prices.gaps import LONGEST_GAP, Interval, merged
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import source_gaps

logger = get_logger(__name__)

_COLUMNS = source_gaps.c
# Longer than the day back from now of which 5-minute points exist.
_SHORT_ONES_KEPT = timedelta(days=2)


def stored_absences(database: Database, coins: Iterable[Coin], start: datetime, end: datetime) -> list[Absence]:
    """The absences of `coins` that overlap `start`..`end`, by symbol and time.

    What was found under another coin id than the present one of a symbol is left out: it says
    nothing of this coin.
    """
    with database.reading() as connection:
        return _absences(connection, coins, _COLUMNS.gap_start < end, _COLUMNS.gap_end > start)


def record_absences(
    database: Database,
    answered: Sequence[Answered],
    absences: Sequence[Absence],
    quotes: Iterable[tuple[str, datetime]],
) -> None:
    """Keep the `absences` found in what was `answered`. One transaction.

    `quotes` are (symbol, time) of the prices that came; an absence of old that one of them
    contradicts gives way. Absences of less than `LONGEST_GAP` matter to ticks alone, while 5-minute
    points exist, and are forgotten two days later.
    """
    spans: dict[Coin, list[Interval]] = defaultdict(list)
    for answer in answered:
        spans[Coin(answer.symbol, answer.coin_id)].append(answer.span)
    times: dict[str, list[datetime]] = defaultdict(list)
    for symbol, moment in quotes:
        times[symbol].append(moment)
    if not spans:
        return
    with database.writing() as connection:
        for coin, covered in spans.items():
            found = [one for one in absences if Coin(one.symbol, one.coin_id) == coin]
            _revise(connection, coin, merged(covered), times[coin.symbol], found)


def _revise(
    connection: Connection,
    coin: Coin,
    covered: Sequence[Interval],
    times: Sequence[datetime],
    found: Sequence[Absence],
) -> None:
    """Bring what is remembered of one coin up to date; a coin has few absences."""
    old = _absences(connection, [coin])
    oldest_short = covered[-1].end - _SHORT_ONES_KEPT
    kept = [
        one
        for one in revised(old, covered, times, found)
        if one.span.length > LONGEST_GAP or one.span.end > oldest_short
    ]
    if gone := [one.span.start for one in old if one not in kept]:
        where = _COLUMNS.symbol == coin.symbol, _COLUMNS.coin_id == coin.coin_id
        connection.execute(delete(source_gaps).where(*where, _COLUMNS.gap_start.in_(gone)))
    if new := [one for one in kept if one not in old]:
        connection.execute(insert(source_gaps), [_row(one) for one in new])
    asked_at = {one.found_at for one in found}
    for one in new:
        if one.found_at in asked_at:
            level = logging.INFO if one.proven else logging.WARNING
            logger.log(level, "CoinGecko gave no prices: %s", one, extra={"symbol": one.symbol})


def _absences(
    connection: Connection, coins: Iterable[Coin], *where: ColumnElement[bool]
) -> list[Absence]:
    present = {coin.symbol: coin.coin_id for coin in coins}
    statement = (
        select(source_gaps)
        .where(and_(_COLUMNS.symbol.in_(list(present)), *where))
        .order_by(_COLUMNS.symbol, _COLUMNS.gap_start)
    )
    return [
        Absence(
            row.symbol, row.coin_id, Interval(row.gap_start, row.gap_end), row.evidence, row.found_at,
            row.proven, row.times_asked, row.first_found_at, row.ask_again_at,
        )
        for row in connection.execute(statement)
        if present[row.symbol] == row.coin_id
    ]


def _row(absence: Absence) -> dict[str, Any]:
    return {
        "symbol": absence.symbol,
        "coin_id": absence.coin_id,
        "gap_start": absence.span.start,
        "gap_end": absence.span.end,
        "evidence": absence.evidence,
        "found_at": absence.found_at,
        "proven": absence.proven,
        "times_asked": absence.times_asked,
        "first_found_at": absence.since,
        "ask_again_at": absence.ask_again_at,
    }
