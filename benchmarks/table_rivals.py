"""The other ways to move a DataFrame: pandas on SQLAlchemy, and the database's driver by hand."""

import csv
import io
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import URL, Column, DateTime, Double, MetaData, String, Table, create_engine, select

from market_pipeline.storage.engine import Database

_COLUMNS = "symbol, coin_id, timestamp, price, source, ingested_at"
_ON_CONFLICT = (
    "ON CONFLICT (symbol, coin_id, timestamp) DO UPDATE SET price = excluded.price, source = excluded.source, "
    "ingested_at = excluded.ingested_at WHERE raw_prices.price {differs} excluded.price"
)


class PandasOnSqlalchemy:
    """`to_sql` and `read_sql` on a table of the same columns and key, with SQLAlchemy's own types.

    It only inserts, which is less than is asked of the others.
    """

    def __init__(self, url: URL) -> None:
        self._engine = create_engine(url)
        self._table = Table(
            "rival_prices",
            MetaData(),
            Column("symbol", String(20), primary_key=True),
            Column("coin_id", String(100), primary_key=True),
            Column("timestamp", DateTime(timezone=True), primary_key=True),
            Column("price", Double, nullable=False),
            Column("source", String(20), nullable=False),
            Column("ingested_at", DateTime(timezone=True), nullable=False),
            sqlite_with_rowid=False,
        )

    def __enter__(self) -> "PandasOnSqlalchemy":
        self._table.create(self._engine)
        return self

    def __exit__(self, *reason: object) -> None:
        self._table.drop(self._engine)
        self._engine.dispose()

    def empty(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(self._table.delete())

    def write(self, frame: pd.DataFrame) -> None:
        with self._engine.begin() as connection:
            frame.to_sql(self._table.name, connection, index=False, if_exists="append")

    def read(self) -> pd.DataFrame:
        frame = pd.read_sql(select(self._table), self._engine)
        for name in ("timestamp", "ingested_at"):
            if frame[name].dt.tz is None:  # SQLite forgets the zone.
                frame[name] = frame[name].dt.tz_localize("UTC")
            frame[name] = frame[name].dt.as_unit("us").dt.tz_convert("UTC")
        return frame


class BareDriver:
    """sqlite3 or psycopg2 by hand, doing the same upsert into the same table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_sqlite = database.dialect == "sqlite"
        self.how_written = "sqlite3 executemany" if self._is_sqlite else "psycopg2 COPY and upsert"
        self.how_read = "sqlite3 fetchall" if self._is_sqlite else "psycopg2 fetchall"

    def write(self, frame: pd.DataFrame) -> None:
        with self._database.writing() as connection:
            cursor = connection.connection.cursor()
            (self._executemany if self._is_sqlite else self._copy)(cursor, frame)

    def _executemany(self, cursor: Any, frame: pd.DataFrame) -> None:
        values = [
            (_microseconds(frame[name]) if frame[name].dtype.kind == "M" else frame[name]).tolist()
            for name in frame
        ]
        statement = f"INSERT INTO raw_prices ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) " + _ON_CONFLICT.format(
            differs="IS NOT"
        )
        cursor.executemany(statement, zip(*values, strict=True))

    def _copy(self, cursor: Any, frame: pd.DataFrame) -> None:
        lines = io.StringIO()
        texts = [
            (_iso(frame[name]) if frame[name].dtype.kind == "M" else frame[name]).tolist() for name in frame
        ]
        csv.writer(lines).writerows(zip(*texts, strict=True))
        lines.seek(0)
        cursor.execute("CREATE TEMP TABLE stage (LIKE raw_prices) ON COMMIT DROP")
        cursor.copy_expert(f"COPY stage ({_COLUMNS}) FROM STDIN CSV", lines)
        cursor.execute(
            f"INSERT INTO raw_prices ({_COLUMNS}) SELECT {_COLUMNS} FROM stage "
            + _ON_CONFLICT.format(differs="IS DISTINCT FROM")
        )

    def read(self) -> pd.DataFrame:
        with self._database.reading() as connection:
            cursor = connection.connection.cursor()
            cursor.execute(f"SELECT {_COLUMNS} FROM raw_prices ORDER BY symbol, coin_id, timestamp")
            rows = cursor.fetchall()
        symbols, coins, times, prices, sources, learnt = zip(*rows, strict=True)
        return pd.DataFrame(
            {
                "symbol": symbols,
                "coin_id": coins,
                "timestamp": _times(times),
                "price": prices,
                "source": sources,
                "ingested_at": _times(learnt),
            }
        )


def _microseconds(series: "pd.Series[Any]") -> Any:
    return series.dt.tz_localize(None).to_numpy("datetime64[us]").view(np.int64)


def _iso(series: "pd.Series[Any]") -> Any:
    return np.char.add(np.datetime_as_string(series.dt.tz_localize(None).to_numpy("datetime64[us]")), "Z")


def _times(values: Any) -> pd.DatetimeIndex:
    if isinstance(values[0], int):
        return pd.DatetimeIndex(np.array(values, dtype=np.int64).view("datetime64[us]")).tz_localize("UTC")
    return pd.DatetimeIndex(pd.to_datetime(list(values), utc=True)).as_unit("us")
