"""The calibrations of the detectors: one document per as-of time and detector version, never changed.

A day is scored with the newest one whose as-of time is not after the start of that day, so that
scoring it again later gives the same rows.
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from sqlalchemy import Select, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from market_pipeline.clock import start_of_day
from market_pipeline.storage.engine import Database
from market_pipeline.storage.refusals import explained
from market_pipeline.storage.tables import detector_calibrations
from market_pipeline.storage.types import UtcTimestamp


def save(
    database: Database, as_of: datetime, detector_version: str, document: str, calibrated_at: datetime
) -> bool:
    """Store a calibration unless there is one of the same `as_of` (aware) and version: days may have been
    scored with that. Whether it was stored; WriteFailed if the database refuses it."""
    insert: Any = (postgresql if database.dialect == "postgresql" else sqlite).insert
    statement = insert(detector_calibrations).on_conflict_do_nothing()
    row = {
        "as_of": as_of,
        "detector_version": detector_version,
        "document": document,
        "calibrated_at": calibrated_at,
    }
    with explained(database, detector_calibrations), database.writing() as connection:
        return bool(connection.execute(statement.values(row)).rowcount)


def stored_document(database: Database, as_of: datetime, detector_version: str) -> str | None:
    """The calibration of exactly this as-of time, if there is one."""
    columns = detector_calibrations.c
    asked = select(columns.document).where(
        columns.as_of == as_of, columns.detector_version == detector_version
    )
    with database.reading() as connection:
        document: str | None = connection.execute(asked).scalar()
    return document


def calibrations_for(database: Database, days: Iterable[date], detector_version: str) -> dict[date, str]:
    """The document of each of `days` (UTC) that has one, with one query."""
    wanted = sorted(set(days))
    if not wanted:
        return {}
    with database.reading() as connection:
        rows = connection.execute(_between(wanted[0], wanted[-1], detector_version)).all()
    times = [row.as_of for row in rows]
    numbers = {day: bisect_right(times, start_of_day(day)) - 1 for day in wanted}
    return {day: rows[number].document for day, number in numbers.items() if number >= 0}


def of_other_versions(database: Database, since: datetime, detector_version: str) -> list[datetime]:
    """The as-of times from `since` (aware) on at which there is a calibration, but none of this version: the
    detectors have changed since then. In order."""
    columns = detector_calibrations.c
    own = select(columns.as_of).where(columns.detector_version == detector_version)
    others = select(columns.as_of).distinct().where(columns.as_of >= since, columns.as_of.not_in(own))
    with database.reading() as connection:
        return list(connection.execute(others.order_by(columns.as_of)).scalars())


def _between(first: date, last: date, detector_version: str) -> Select[Any]:
    """What was known at the start of `first`, and what was added until the start of `last`."""
    columns = detector_calibrations.c
    known = select(func.max(columns.as_of, type_=UtcTimestamp())).where(
        columns.detector_version == detector_version, columns.as_of <= start_of_day(first)
    )
    begins = func.coalesce(known.scalar_subquery(), literal(start_of_day(first), UtcTimestamp()))
    return (
        select(columns.as_of, columns.document)
        .where(
            columns.detector_version == detector_version,
            columns.as_of >= begins,
            columns.as_of <= start_of_day(last),
        )
        .order_by(columns.as_of)
    )
