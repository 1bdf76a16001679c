"""Absences: the stretches for which the source returned no prices, stored until the next request for them is due."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from market_pipeline.core.symbols import Coin
from market_pipeline.logs import get_logger
from market_pipeline.prices.absences import Absence, revised
from market_pipeline.prices.gaps import LONGEST_GAP, Interval, merged
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import source_gaps

logger = get_logger(__name__)

_COLUMNS = source_gaps.c
# Longer than the last 24 hours, of which 5-minute points exist.
_SHORT_ABSENCES_STORED = timedelta(days=2)


def stored_absences(database: Database, coins: Iterable[Coin], start: datetime, end: datetime) -> list[Absence]:
    """Return the absences of `coins` that overlap `start`..`end`, by symbol and time.

    Those of another coin id of the same symbol are left out: they are about another coin.
    """
    with database.reading() as connection:
        return _absences(connection, coins, _COLUMNS.gap_start < end, _COLUMNS.gap_end > start)


def record_absences(
    database: Database,
    answered: Iterable[tuple[Coin, Interval]],
    absences: Sequence[Absence],
    quotes: Iterable[tuple[str, datetime]],
) -> None:
    """Store the `absences` found in what was `answered`, in one transaction.

    `quotes` are (symbol, time) of the prices that came; a stored absence that one of them contradicts is
    shortened or deleted. Absences of less than `LONGEST_GAP` matter only to ticks, while 5-minute points
    exist, and are deleted two days later.
    """
    spans: dict[Coin, list[Interval]] = defaultdict(list)
    for coin, span in answered:
        spans[coin].append(span)
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
    """Bring the stored absences of one coin up to date; a coin has few of them."""
    old = _absences(connection, [coin])
    oldest_short = covered[-1].end - _SHORT_ABSENCES_STORED
    current = [
        absence
        for absence in revised(old, covered, times, found)
        if absence.span.length > LONGEST_GAP or absence.span.end > oldest_short
    ]
    if gone := [absence.span.start for absence in old if absence not in current]:
        where = _COLUMNS.symbol == coin.symbol, _COLUMNS.coin_id == coin.coin_id
        connection.execute(delete(source_gaps).where(*where, _COLUMNS.gap_start.in_(gone)))
    if new := [absence for absence in current if absence not in old]:
        connection.execute(insert(source_gaps), [_row(absence) for absence in new])
    answered_at = {absence.found_at for absence in found}
    for absence in new:
        if absence.found_at in answered_at:
            level = logging.INFO if absence.proven else logging.WARNING
            logger.log(level, "CoinGecko gave no prices: %s", absence, extra={"symbol": absence.symbol})


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
