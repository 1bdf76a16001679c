"""The quarantine read back, and what is no longer refused moved out of it."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Connection, bindparam, delete, exists, select, update

from market_pipeline.prices.quotes import Quote, Reason, Refusal, Source
from market_pipeline.prices.replay import Verdicts
from market_pipeline.storage.engine import Database
from market_pipeline.storage.records import columns_of
from market_pipeline.storage.refusals import explained
from market_pipeline.storage.tables import raw_prices, rejected_prices
from market_pipeline.storage.write import insert


def refused_points(
    database: Database,
    *,
    reason: Reason | None = None,
    symbol: str | None = None,
    first: date | None = None,
    last: date | None = None,
) -> list[Refusal]:
    """The refusals in quarantine, oldest first, those that fit every argument given.

    `first` and `last` are UTC days, both included.
    """
    columns = rejected_prices.c
    found = select(rejected_prices).order_by(columns.refused_at, columns.id)
    if reason is not None:
        found = found.where(columns.reason == reason.value)
    if symbol is not None:
        found = found.where(columns.symbol == symbol)
    if first is not None:
        found = found.where(columns.day >= first)
    if last is not None:
        found = found.where(columns.day <= last)
    with database.reading() as connection:
        return [
            Refusal(
                row.symbol, row.coin_id, row.day, Reason(row.reason), row.detail, row.timestamp, row.payload,
                Source(row.source), row.refused_at,
            )
            for row in connection.execute(found)
        ]


def move(database: Database, verdicts: Verdicts) -> int:
    """Move what is accepted from the quarantine to `raw_prices`, and file the rest under today's reasons.

    One transaction: on any failure nothing has changed. A stored price of the same symbol and time
    that came before the refused one is replaced where it differs, and then kept in `price_revisions`;
    one that came after it stays. Returns how many prices are new or changed; raises WriteFailed if the
    database refuses a row.
    """
    with explained(database, raw_prices), database.writing() as connection:
        quotes = {
            (quote.symbol, quote.coin_id, quote.timestamp): quote
            for refusal, quote in verdicts.accepted
            if not _came_later(connection, quote, refusal)
        }
        columns = columns_of(raw_prices, [quotes[key] for key in sorted(quotes)])
        written = insert(connection, raw_prices, columns, on_conflict=True)
        _delete(connection, [refusal.id for refusal, _ in verdicts.accepted])
        _rename(connection, verdicts.renamed)
    return written


def _came_later(connection: Connection, quote: Quote, refusal: Refusal) -> bool:
    """Whether the stored price of the time of `quote` came after `refusal`."""
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
    """The id names the reason too; where the new one is there already, the old one is the same refusal."""
    if not renamed:
        return
    other = rejected_prices.alias()
    taken = exists().where(other.c.id == bindparam("new"))
    change = (
        update(rejected_prices)
        .where(rejected_prices.c.id == bindparam("old"), ~taken)
        .values(id=bindparam("new"), reason=bindparam("why"), detail=bindparam("words"))
    )
    connection.execute(
        change,
        [
            {"old": old.id, "new": new.id, "why": new.reason.value, "words": new.detail}
            for old, new in renamed
        ],
    )
    _delete(connection, [old.id for old, _ in renamed])
