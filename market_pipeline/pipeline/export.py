"""Export of prices, candles and anomalies to Parquet or CSV files, laid out by symbol and year (Hive).

    folder/prices/symbol=BTC/year=2026/prices.parquet

DuckDB, polars, pandas and Spark read such a folder as one table with the columns `symbol` and `year`. Rows are read
and written in batches, so memory does not grow with them. All files are made in a hidden folder and moved into place
when all are whole.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from market_pipeline.core.clock import next_month, start_of_day
from market_pipeline.core.file_lock import try_lock
from market_pipeline.core.slices import Slice
from market_pipeline.prices.candles import INTERVALS
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.candles import read_candles
from market_pipeline.storage.queries.coverage import first_times
from market_pipeline.storage.queries.price_batches import price_batches
from market_pipeline.storage.rows.read import read_arrow
from market_pipeline.storage.schema.tables import price_anomalies

if TYPE_CHECKING:
    import pyarrow as pa

RAW = "raw"
PARQUET, CSV = "parquet", "csv"
PRICES, CANDLES, ANOMALIES = "prices", "candles", "anomalies"

_TABLES = (PRICES, CANDLES, ANOMALIES)

# Where files are made, and in it the names of the tables that are being moved into place. What a killed export left,
# there or in place, the next one deletes.
UNFINISHED = ".unfinished-export"
_MOVING = "moving"

# Called with a table, a symbol, the number of rows written, and the time up to which its rows are written.
Progress = Callable[[str, str, int, datetime], None]


@dataclass(frozen=True)
class Order:
    """What to export: `symbols` from `start` (None: their first price) up to but not including `end` (aware UTC).

    As quotes (`RAW`), or as the candles of an interval that open in that time.
    """

    symbols: Sequence[str]
    start: datetime | None
    end: datetime
    interval: str
    format: str
    anomalies: bool

    @property
    def table(self) -> str:
        """The name of the main table."""
        return PRICES if self.interval == RAW else CANDLES


@dataclass(frozen=True)
class Written:
    """How many rows of a table were written, into how many files of how many bytes."""

    table: str
    rows: int
    files: int
    bytes: int


def starts_of(database: Database, order: Order) -> dict[str, datetime]:
    """Return from when on there are prices to export of each symbol that has any before the end."""
    first = first_times(database, order.symbols)
    starts = {symbol: max(at, order.start) if order.start else at for symbol, at in first.items()}
    return {symbol: start for symbol, start in starts.items() if start < order.end}


def export(
    database: Database, order: Order, folder: Path, now: datetime, progress: Progress = lambda *_: None
) -> list[Written]:
    """Write the files of `order` below `folder`, as of `now`, and count them by table; a table without rows has none.

    On any error nothing is left of it. Raises OSError if a file cannot be written, also while another export writes to
    the same folder.
    """
    with _staging(folder) as staging:
        written = [_write_all(database, order, order.table, staging, now, progress)]
        if order.anomalies:
            written.append(_write_all(database, order, ANOMALIES, staging, now, progress))
        whole = [table.table for table in written if table.files]
        (staging / _MOVING).write_text("\n".join(whole), encoding="utf-8")
        for name in whole:
            (staging / name).rename(folder / name)
    return written


def is_free(folder: Path) -> bool:
    """Return whether an export may write to an existing folder: it has nothing but the remains of a killed export."""
    return {entry.name for entry in folder.iterdir()} <= {UNFINISHED, *_moved(folder)}


def _moved(folder: Path) -> list[str]:
    """Return the tables that an unfinished export has moved into place, or was about to."""
    try:
        names = (folder / UNFINISHED / _MOVING).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return []
    return [name for name in names if name in _TABLES]


def _remove_moved(folder: Path) -> None:
    for name in _moved(folder):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / UNFINISHED / _MOVING).unlink(missing_ok=True)


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Yield the hidden folder in which files are made; it has no tables, and is deleted at the end."""
    staging = folder / UNFINISHED
    is_new = not folder.exists()
    if staging.is_symlink() or any(entry.is_symlink() for entry in (staging.iterdir() if staging.exists() else ())):
        raise OSError(errno.ELOOP, f"{UNFINISHED} in it is or has a symbolic link; remove that")
    with ExitStack() as files:
        lock: TextIO | None = None
        try:
            staging.mkdir(parents=True, exist_ok=True)
            lock = files.enter_context((staging / "lock").open("a"))
            if not try_lock(lock):
                raise OSError(errno.EBUSY, "another export is writing there")
            _remove_moved(folder)
            for name in _TABLES:
                shutil.rmtree(staging / name, ignore_errors=True)
            yield staging
        except BaseException:
            if lock and try_lock(lock):
                _remove_moved(folder)
            raise
        finally:
            with suppress(OSError):
                # Also after an interrupt at any line above. To lock it again fails only if another export holds it.
                lock = lock or files.enter_context((staging / "lock").open("a"))
                if try_lock(lock):
                    shutil.rmtree(staging, ignore_errors=True)
            if is_new:
                with suppress(OSError):
                    folder.rmdir()


def _write_all(
    database: Database, order: Order, table: str, staging: Path, now: datetime, progress: Progress
) -> Written:
    rows = 0
    for symbol, start in starts_of(database, order).items():
        with _Files(staging / table / f"symbol={symbol}", table, symbol, order.format) as files:
            for batch, until in _batches(database, order, table, symbol, start, now):
                rows += len(batch)
                files.write(batch)
                progress(table, symbol, len(batch), until)
    found = [file for file in (staging / table).rglob("*") if file.is_file()]
    return Written(table, rows, len(found), sum(file.stat().st_size for file in found))


def _batches(
    database: Database, order: Order, table: str, symbol: str, start: datetime, now: datetime
) -> Iterator[tuple[pa.Table, datetime]]:
    """Yield the rows of a table in the order of time, each batch with the time up to which it has all."""
    if table == PRICES:
        for batch in price_batches(database, symbol, start, order.end):
            yield batch, batch["timestamp"][-1].as_py()
        return
    for begin, end in _months(start, order):
        if table == CANDLES:
            yield _candles(database, symbol, INTERVALS[order.interval], begin, end, now), end
        else:
            yield _anomalies(database, symbol, begin, end), end


def _months(start: datetime, order: Order) -> Iterator[tuple[datetime, datetime]]:
    """Yield the months from that of `start` on, within the times of `order`."""
    month = start.date().replace(day=1)
    while start_of_day(month) < order.end:
        begin, following = start_of_day(month), next_month(month)
        yield max(begin, order.start) if order.start else begin, min(order.end, start_of_day(following))
        month = following


def _candles(
    database: Database, symbol: str, interval: timedelta, begin: datetime, end: datetime, now: datetime
) -> pa.Table:
    import pyarrow as pa

    found = read_candles(database, symbol, interval, begin, end, (end - begin) // interval + 2, now)
    arrays = {name: pa.array(array) for name, array in found.arrays.items()}
    return pa.table({**arrays, "opened_at": arrays["opened_at"].cast(pa.timestamp("us", tz="UTC"))})


def _anomalies(database: Database, symbol: str, begin: datetime, end: datetime) -> pa.Table:
    import pyarrow.compute as pc

    names = [column.name for column in price_anomalies.columns if column.name != "symbol"]
    names.sort(key=lambda name: name != "timestamp")
    table = read_arrow(database, price_anomalies, [Slice(symbol, begin.date(), end.date())], names)
    time = table["timestamp"]
    return table.filter(pc.and_(pc.greater_equal(time, begin), pc.less(time, end)))


class _Files:
    """The files of one symbol, one for each year, opened as rows of the year come; use it in a `with` block."""

    def __init__(self, folder: Path, table: str, symbol: str, file_format: str) -> None:
        self._folder, self._table, self._symbol, self._format = folder, table, symbol, file_format
        self._year: int | None = None
        self._writer: Any = None

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def write(self, batch: pa.Table) -> None:
        """Write rows, whose first column is their time; they follow those written before."""
        import pyarrow as pa

        if not len(batch):
            return
        years = batch.column(0).cast(pa.timestamp("us")).to_numpy().astype("datetime64[Y]").astype(int) + 1970
        for year in np.unique(years).tolist():
            first, end = np.searchsorted(years, [year, year + 1]).tolist()
            self._of_year(year, batch.slice(first, end - first))

    def _of_year(self, year: int, rows: pa.Table) -> None:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet

        if self._format == CSV:
            # Most readers of CSV do not look at the folder's name.
            rows = rows.add_column(0, "symbol", pa.repeat(self._symbol, len(rows)))
        if year != self._year:
            self._close()
            folder = self._folder / f"year={year}"
            folder.mkdir(parents=True)
            file = folder / f"{self._table}.{self._format}"
            self._year = year
            self._writer = (
                pa.csv.CSVWriter(file, rows.schema) if self._format == CSV
                else pa.parquet.ParquetWriter(file, rows.schema, compression="zstd")
            )
        self._writer.write_table(rows)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
