"""Move the stored rows of a coin to another symbol or another id: all tables in one transaction.

Where the new name already has a row of the same key, that row stays.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, delete, exists, or_, select, update

from market_pipeline.anomalies.anomaly import anomaly_id
from market_pipeline.core.clock import to_microseconds
from market_pipeline.core.symbols import Coin
from market_pipeline.prices.quotes import refusal_id
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import (
    coin_identities,
    price_revisions,
    scored_through,
    source_gaps,
)
from market_pipeline.storage.schema.tables import (
    anomaly_marks,
    daily_bars,
    daily_peaks,
    detector_calibrations,
    price_anomalies,
    raw_prices,
    rejected_prices,
)

# Tables whose key is the coin and these columns.
_BY_COIN: tuple[tuple[Table, tuple[str, ...]], ...] = (
    (raw_prices, ("timestamp",)),
    (source_gaps, ("gap_start",)),
    (detector_calibrations, ("as_of", "detector_version")),
    (daily_peaks, ("day", "detector_version")),
    (daily_bars, ("day",)),
    (scored_through, ()),
    (anomaly_marks, ("timestamp", "kind")),
)
# Texts of anomalies that name symbols.
_TEXTS = ("members", "headline", "explanation")


def rename(database: Database, old: Coin, new: Coin) -> int:
    """Move all rows of `old` to `new` and return the number of prices; raise WriteFailed if the database refuses it."""
    with database.writing(raw_prices) as connection:
        moved = {table.name: _move(connection, table, key, old, new) for table, key in _BY_COIN}
        connection.execute(update(price_revisions).where(_is(price_revisions, old)).values(**_named(new)))
        if old.coin_id == new.coin_id:
            # CoinGecko's entry for one id does not apply to another.
            _move(connection, coin_identities, (), old, new)
        if old.symbol == new.symbol:
            for table in (rejected_prices, price_anomalies):
                connection.execute(update(table).where(_is(table, old)).values(**_named(new)))
        else:
            _rename_refusals(connection, old, new)
            _rename_anomalies(connection, old, new)
            _rename_ids_of_marks(connection, new)
            _rename_in_calibrations(connection, old, new)
    return moved[raw_prices.name]


def _is(table: Table, coin: Coin) -> ColumnElement[bool]:
    return and_(table.c.symbol == coin.symbol, table.c.coin_id == coin.coin_id)


def _named(coin: Coin) -> dict[str, str]:
    return {"symbol": coin.symbol, "coin_id": coin.coin_id}


def _move(connection: Connection, table: Table, key: Sequence[str], old: Coin, new: Coin) -> int:
    there = table.alias()
    taken = exists().where(
        there.c.symbol == new.symbol, there.c.coin_id == new.coin_id, *(there.c[n] == table.c[n] for n in key)
    )
    gone = connection.execute(delete(table).where(_is(table, old), taken)).rowcount
    return gone + connection.execute(update(table).where(_is(table, old)).values(**_named(new))).rowcount


def _rename_refusals(connection: Connection, old: Coin, new: Coin) -> None:
    """Give refusals the ids that follow from the new symbol."""
    columns = rejected_prices.c
    rows = connection.execute(
        select(columns.id, columns.day, columns.reason, columns.payload).where(_is(rejected_prices, old))
    ).all()
    if not rows:
        return
    other = rejected_prices.alias()
    taken = exists().where(other.c.id == bindparam("number"))
    change = update(rejected_prices).where(columns.id == bindparam("before"), ~taken)
    connection.execute(
        change.values(**_named(new), id=bindparam("number")),
        [{"before": id_, "number": refusal_id(new.symbol, *what)} for id_, *what in rows],
    )
    connection.execute(delete(rejected_prices).where(_is(rejected_prices, old)))


def _rename_anomalies(connection: Connection, old: Coin, new: Coin) -> None:
    """Rename the ids of the coin's rows, references to them, and the texts that name the symbol."""
    columns = price_anomalies.c
    _drop_taken(connection, old, new)
    own = _is(price_anomalies, old)
    referring = or_(
        columns.event_id.in_(select(columns.id).where(own)),
        *(columns[name].contains(old.symbol, autoescape=True) for name in _TEXTS),
    )
    rows = connection.execute(
        select(price_anomalies).where(or_(own, and_(columns.symbol != old.symbol, referring)))
    ).mappings().all()
    ids = {
        row["id"]: anomaly_id(new.symbol, to_microseconds(row["timestamp"]), row["kind"])
        for row in rows
        if row["symbol"] == old.symbol
    }
    changes = []
    changed: dict[str, str | None] = {}
    for row in rows:
        coin = new if row["symbol"] == old.symbol else Coin(row["symbol"], row["coin_id"])
        changed = {
            **_named(coin),
            **{name: ids.get(row[name], row[name]) for name in ("id", "episode_id", "event_id")},
            **{name: _in_text(row[name], old.symbol, new.symbol) for name in _TEXTS},
        }
        changes.append({"before": row["id"], **{f"new_{name}": value for name, value in changed.items()}})
    if changes:
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in changed}
        connection.execute(update(price_anomalies).where(columns.id == bindparam("before")).values(values), changes)


def _drop_taken(connection: Connection, old: Coin, new: Coin) -> None:
    other = price_anomalies.alias()
    taken = exists().where(
        other.c.symbol == new.symbol, *(other.c[name] == price_anomalies.c[name] for name in ("timestamp", "kind"))
    )
    connection.execute(delete(price_anomalies).where(_is(price_anomalies, old), taken))


def _rename_ids_of_marks(connection: Connection, new: Coin) -> None:
    """Give marks the ids that follow from the new symbol."""
    columns = anomaly_marks.c
    for row in connection.execute(select(columns.anomaly_id, columns.timestamp, columns.kind).where(
        _is(anomaly_marks, new)
    )).all():
        id_ = anomaly_id(new.symbol, to_microseconds(row.timestamp), row.kind)
        if id_ != row.anomaly_id:
            own = columns.anomaly_id == row.anomaly_id, columns.coin_id == new.coin_id
            connection.execute(update(anomaly_marks).where(*own).values(anomaly_id=id_))


def _rename_in_calibrations(connection: Connection, old: Coin, new: Coin) -> None:
    """Rename the coin within its documents, whose tails begin with the symbol."""
    columns = detector_calibrations.c
    keys = [column for column in detector_calibrations.primary_key]
    for row in connection.execute(select(*keys, columns.document).where(_is(detector_calibrations, new))).all():
        document = json.loads(row.document)
        document["coins"] = {new.symbol if name == old.symbol else name: c for name, c in document["coins"].items()}
        document["tails"] = {
            f"{new.symbol} {key.removeprefix(f'{old.symbol} ')}" if key.startswith(f"{old.symbol} ") else key: tail
            for key, tail in document["tails"].items()
        }
        document["largest"] = {
            new.symbol if name == old.symbol else name: days for name, days in document.get("largest", {}).items()
        }
        where = [column == row._mapping[column.name] for column in keys]
        connection.execute(update(detector_calibrations).where(*where).values(document=json.dumps(document)))


def _in_text(text: str | None, old: str, new: str) -> str | None:
    """Replace `old` in `text` where it is a word of its own: USDC.E does not contain the word USDC."""
    if text is None:
        return None
    return re.sub(rf"(?<![\w.\-]){re.escape(old)}(?![\w\-]|\.\w)", new, text)
