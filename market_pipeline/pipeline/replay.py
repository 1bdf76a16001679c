"""Validate refused points again by the present rules, and move what is accepted to the prices.

A point is read back from the part of the answer that was stored with its refusal, and judged as of the time at which
that answer arrived: a point that was in the future then stays refused, however much time has passed. Only points
refused because our clock was behind are judged by the present clock.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from sqlalchemy import Connection, bindparam, delete, exists, select, update

from market_pipeline.coingecko.models import RawPoint, chart_points, price_points
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.symbols import Coin
from market_pipeline.prices.quotes import Quote, Reason, Refusal, Source
from market_pipeline.prices.validation import examine
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import insert
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices


@dataclass(frozen=True)
class Verdicts:
    """What becomes of each refusal.

    `accepted` are quotes, `renamed` are refused for another reason than before (old refusal, new refusal),
    `unchanged` are refused for the same reason; the stored part of `unreadable` ones is truncated or holds no point.
    """

    accepted: list[tuple[Refusal, Quote]] = field(default_factory=list)
    renamed: list[tuple[Refusal, Refusal]] = field(default_factory=list)
    unchanged: list[Refusal] = field(default_factory=list)
    unreadable: list[Refusal] = field(default_factory=list)

    @property
    def refused(self) -> list[Refusal]:
        """Everything that stays in quarantine, as it is refused today."""
        return [*(new for _, new in self.renamed), *self.unchanged, *self.unreadable]


def load_refusals(
    database: Database,
    *,
    reason: Reason | None = None,
    symbol: str | None = None,
    first: date | None = None,
    last: date | None = None,
) -> list[Refusal]:
    """Return the refusals in quarantine that match every argument given, oldest first.

    `first` and `last` are UTC days, both included.
    """
    columns = rejected_prices.c
    query = select(rejected_prices).order_by(columns.refused_at, columns.id)
    if reason is not None:
        query = query.where(columns.reason == reason.value)
    if symbol is not None:
        query = query.where(columns.symbol == symbol)
    if first is not None:
        query = query.where(columns.day >= first)
    if last is not None:
        query = query.where(columns.day <= last)
    with database.reading() as connection:
        return [
            Refusal(
                row.symbol, row.coin_id, row.day, Reason(row.reason), row.detail, row.timestamp, row.payload,
                Source(row.source), row.refused_at,
            )
            for row in connection.execute(query)
        ]


def revalidate(refusals: Iterable[Refusal], now: datetime) -> Verdicts:
    """Judge each of `refusals`; the quote of an accepted one is ingested `now` (aware UTC).

    A point of history must lie in its partition's day, because a price of another day was never requested; a current
    price has a time of its own.
    """
    verdicts = Verdicts()
    for refusal in refusals:
        point = _point_of(refusal)
        if point is None:
            verdicts.unreadable.append(refusal)
            continue
        start = start_of_day(refusal.day)
        by_clock = refusal.reason is Reason.CLOCK_BEHIND
        examined = examine(
            [point],
            coin=Coin(refusal.symbol, refusal.coin_id),
            days=[refusal.day],
            now=max(now, refusal.refused_at) if by_clock else refusal.refused_at,
            source=refusal.source,
            window=(start, start + DAY) if refusal.source is Source.HISTORY else None,
        )
        if examined.quotes:
            verdicts.accepted.append((refusal, replace(examined.quotes[0], ingested_at=now)))
        elif by_clock or examined.refusals[0].reason is refusal.reason:
            verdicts.unchanged.append(refusal)
        else:
            verdicts.renamed.append((refusal, examined.refusals[0]))
    return verdicts


def _point_of(refusal: Refusal) -> RawPoint | None:
    """Read the point back from the payload; None if that is not possible."""
    try:
        part = json.loads(refusal.payload)
    except (ValueError, RecursionError):
        return None
    if refusal.source is Source.HISTORY:
        points = chart_points([part], "") if isinstance(part, list) else ()
    elif isinstance(part, dict) and len(part) == 1:
        points = price_points(part, tuple(part)).points
    else:
        points = ()
    # The payload stays exactly what the server sent.
    return replace(points[0], payload=refusal.payload) if points else None


def apply(database: Database, verdicts: Verdicts) -> int:
    """Move what is accepted from the quarantine to `raw_prices`; file the rest under today's reasons.

    One transaction: on any failure nothing has changed. A stored price of the same coin and time that arrived before
    the refused one is replaced where it differs, and its old value goes to `price_revisions`; one that arrived later
    stays. Return how many prices are new or changed; raises WriteFailed if the database refuses a row.
    """
    with database.writing(raw_prices) as connection:
        quotes = {
            (quote.symbol, quote.coin_id, quote.timestamp): quote
            for refusal, quote in verdicts.accepted
            if not _has_later_price(connection, quote, refusal)
        }
        columns = columns_of(raw_prices, [quotes[key] for key in sorted(quotes)])
        written = insert(connection, raw_prices, columns, on_conflict=True)
        _delete(connection, [refusal.id for refusal, _ in verdicts.accepted])
        _rename(connection, verdicts.renamed)
    return written


def _has_later_price(connection: Connection, quote: Quote, refusal: Refusal) -> bool:
    """Return whether the stored price of the time of `quote` arrived after `refusal`."""
    columns = raw_prices.c
    later = select(columns.price).where(
        columns.symbol == quote.symbol,
        columns.coin_id == quote.coin_id,
        columns.timestamp == quote.timestamp,
        columns.ingested_at > refusal.refused_at,
    )
    return connection.execute(later).first() is not None


def _delete(connection: Connection, ids: Sequence[str]) -> None:
    if ids:
        statement = delete(rejected_prices).where(rejected_prices.c.id == bindparam("old"))
        connection.execute(statement, [{"old": number} for number in ids])


def _rename(connection: Connection, renamed: Sequence[tuple[Refusal, Refusal]]) -> None:
    """Change the reasons, and the ids, which include them; where the new id exists, the old one is a duplicate."""
    if not renamed:
        return
    other = rejected_prices.alias()
    taken = exists().where(other.c.id == bindparam("new"))
    change = (
        update(rejected_prices)
        .where(rejected_prices.c.id == bindparam("old"), ~taken)
        .values(id=bindparam("new"), reason=bindparam("why"), detail=bindparam("words"))
    )
    connection.execute(change, [
        {"old": old.id, "new": new.id, "why": new.reason.value, "words": new.detail} for old, new in renamed
    ])
    _delete(connection, [old.id for old, _ in renamed])
