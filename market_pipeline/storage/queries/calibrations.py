"""The calibrations of the detectors: one document per as-of time, detector version and coin.

A day is scored with the newest ones whose as-of time is not after the start of that day, so that scoring it again later
gives the same rows. Installations with different symbols may share a database: each reads and writes only its own
coins.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from importlib import import_module
from typing import Any

from sqlalchemy import Select, func, literal, select

from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.core.clock import start_of_day
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import of_configured_coins, of_symbol
from market_pipeline.storage.schema.tables import detector_calibrations, raw_prices
from market_pipeline.storage.schema.types import UtcTimestamp

_COLUMNS = detector_calibrations.c


def save_calibrations(
    database: Database,
    as_of: datetime,
    detector_version: str,
    documents: Mapping[str, str],
    calibrated_at: datetime,
    *,
    replacing: bool = False,
) -> tuple[str, ...]:
    """Store the document of each symbol that has none for this `as_of` (aware) and version; return those symbols.

    The first writer wins: days may have been scored with its calibration. With `replacing` the last one does. Raises
    WriteFailed if the database refuses a document; nothing is stored then.
    """
    common = {"as_of": as_of, "detector_version": detector_version, "calibrated_at": calibrated_at}
    rows = [
        {**common, "symbol": symbol, "coin_id": database.coin_id(symbol), "document": document}
        for symbol, document in documents.items()
    ]
    if not rows:
        return ()
    # Only the dialect in use: importing that of PostgreSQL costs a twentieth of a tick on SQLite.
    insert: Any = import_module(f"sqlalchemy.dialects.{database.dialect}").insert
    statement = insert(detector_calibrations).values(rows)
    if replacing:
        new = {name: statement.excluded[name] for name in ("document", "calibrated_at")}
        statement = statement.on_conflict_do_update(index_elements=detector_calibrations.primary_key, set_=new)
    else:
        statement = statement.on_conflict_do_nothing()
    with database.writing(detector_calibrations) as connection:
        stored = set(connection.execute(statement.returning(_COLUMNS.symbol)).scalars())
    return tuple(symbol for symbol in documents if symbol in stored)


def stored_documents(database: Database, as_of: datetime, detector_version: str) -> dict[str, str]:
    """Return the documents of exactly this as-of time by symbol, in the order of symbols."""
    documents = (
        select(_COLUMNS.symbol, _COLUMNS.document)
        .where(
            _COLUMNS.as_of == as_of,
            _COLUMNS.detector_version == detector_version,
            of_configured_coins(database, detector_calibrations),
        )
        .order_by(_COLUMNS.symbol)
    )
    with database.reading() as connection:
        return {symbol: document for symbol, document in connection.execute(documents)}


def symbols_with_prices(database: Database, symbols: Sequence[str], since: datetime, until: datetime) -> list[str]:
    """Return those of `symbols` that have a price from `since` on and before `until` (aware)."""
    time = raw_prices.c.timestamp
    # Without ORDER BY, PostgreSQL would scan the table for any row.
    first = select(time).where(time >= since, time < until).order_by(time).limit(1)
    with database.reading() as connection:
        return [
            symbol
            for symbol in symbols
            if connection.execute(first.where(of_symbol(database, raw_prices, symbol))).first()
        ]


def calibrations_for(
    database: Database, days: Iterable[date], detector_version: str
) -> dict[date, Calibration]:
    """Return the calibration of each of `days` (UTC) that has one, with one query.

    Raises ValueError if a stored document cannot be read.
    """
    wanted = sorted(set(days))
    if not wanted:
        return {}
    documents: dict[datetime, list[str]] = defaultdict(list)
    with database.reading() as connection:
        for as_of, document in connection.execute(_between(database, wanted[0], wanted[-1], detector_version)):
            documents[as_of].append(document)
    times = list(documents)
    numbers = {day: bisect_right(times, start_of_day(day)) - 1 for day in wanted}
    known = {
        number: Calibration.joined([Calibration.from_json(text) for text in documents[times[number]]])
        for number in set(numbers.values())
        if number >= 0
    }
    return {day: known[number] for day, number in numbers.items() if number >= 0}


def calibration_of(database: Database, symbol: str, day: date, detector_version: str) -> Calibration | None:
    """Return the part of the calibration of `day` (UTC) that concerns `symbol`, None if there is none.

    Raises ValueError if the stored document cannot be read.
    """
    known = select(_COLUMNS.document).where(
        _COLUMNS.as_of <= start_of_day(day), _COLUMNS.detector_version == detector_version,
        of_symbol(database, detector_calibrations, symbol),
    )
    with database.reading() as connection:
        document = connection.execute(known.order_by(_COLUMNS.as_of.desc()).limit(1)).scalar()
    return None if document is None else Calibration.from_json(document)


def calibration_times(database: Database, since: datetime, detector_version: str) -> dict[datetime, datetime]:
    """Return when the calibration of each as-of time from `since` (aware) on was made, in order of as-of times."""
    made = (
        select(_COLUMNS.as_of, func.max(_COLUMNS.calibrated_at, type_=UtcTimestamp()))
        .where(
            _COLUMNS.as_of >= since, _COLUMNS.detector_version == detector_version,
            of_configured_coins(database, detector_calibrations),
        )
        .group_by(_COLUMNS.as_of)
        .order_by(_COLUMNS.as_of)
    )
    with database.reading() as connection:
        return {as_of: made_at for as_of, made_at in connection.execute(made)}


def _between(database: Database, first: date, last: date, detector_version: str) -> Select[Any]:
    """Select what was known at the start of `first`, and what was added until the start of `last`."""
    of_these = _COLUMNS.detector_version == detector_version, of_configured_coins(database, detector_calibrations)
    known = select(func.max(_COLUMNS.as_of, type_=UtcTimestamp())).where(
        *of_these, _COLUMNS.as_of <= start_of_day(first)
    )
    begins = func.coalesce(known.scalar_subquery(), literal(start_of_day(first), UtcTimestamp()))
    return (
        select(_COLUMNS.as_of, _COLUMNS.document)
        .where(*of_these, _COLUMNS.as_of >= begins, _COLUMNS.as_of <= start_of_day(last))
        .order_by(_COLUMNS.as_of, _COLUMNS.symbol)
    )
