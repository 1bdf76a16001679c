"""What the ordinary driver says when the database refuses rows, told as WriteFailed."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Table
from sqlalchemy.exc import DBAPIError

from market_pipeline.storage.engine import Database
from market_pipeline.storage.errors import WriteFailed


@contextmanager
def explained(database: Database, table: Table) -> Iterator[None]:
    """Around a write to `table`: WriteFailed, without the rows, for whatever the driver raises."""
    try:
        yield
    except DBAPIError as error:
        raise write_failed(database, table, str(error.orig)) from None


def write_failed(database: Database, table: Table, why: str) -> WriteFailed:
    """The error for a write to `table` that failed for the reason `why`, in the driver's words."""
    told = database.without_password(" ".join(why.split()))
    return WriteFailed(f"{table.name}: the database refused the rows: {told}. Nothing was written.")
