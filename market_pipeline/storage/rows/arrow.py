"""Arrow at the border: what is given for writing becomes one Arrow table of exactly the table's
columns, and what is read from a database one of the types asked for. Imported by the bulk path only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Column, Date, Table

from market_pipeline.core.columns import Columns
from market_pipeline.storage.rows.read import MICROSECONDS_PER_DAY, Integers, Ranked
from market_pipeline.storage.rows.records import numpy_type
from market_pipeline.storage.rows.validation import (
    holds_numbers,
    numbers,
    require_columns,
    series_numbers,
    series_times,
    times,
)
from market_pipeline.storage.schema.types import UtcTimestamp

if TYPE_CHECKING:
    import pandas as pd


def arrow_schema(table: Table, names: Sequence[str]) -> pa.Schema:
    """How columns of `table` look in Arrow: times in microseconds UTC, whatever the database."""
    return pa.schema([pa.field(name, _arrow_type(table.columns[name])) for name in names])


def to_arrow(table: Table, rows: Columns | pd.DataFrame) -> pa.Table:
    """`rows` as columns of exactly `table`, in its order, each of its type.

    Raises ValueError for the same rows as `frames.checked_columns`.
    """
    given = rows.arrays if isinstance(rows, Columns) else rows.columns
    names = require_columns(table, [str(name) for name in given])
    arrays = [_array(table.columns[name], rows[name]) for name in names]
    for column, array in zip(table.columns, arrays, strict=True):
        if column.primary_key and array.null_count:
            raise ValueError(f"column {column.name} of {table.name} is part of the key and must not be empty")
    return pa.table(arrays, schema=arrow_schema(table, names))


def joined(parts: Sequence[pa.Table], symbols: Sequence[str], schema: pa.Schema) -> pa.Table:
    """One table of `schema`, whatever a driver made of the rows of each symbol's part; there is at least one."""
    return pa.concat_tables(
        _typed(part, symbol, schema) for part, symbol in zip(parts, symbols, strict=True)
    )


def ranked(column: pa.ChunkedArray) -> Ranked:
    """The texts of a column without gaps, ranked."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    texts = np.array(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(texts)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return Ranked(texts[order].tolist(), rank[encoded.indices.to_numpy()])


def integers(column: pa.ChunkedArray) -> Integers:
    """A column without gaps as integers that sort like it."""
    if pa.types.is_string(column.type):
        return ranked(column).ranks
    whole: Integers = column.cast(pa.int64()).to_numpy()
    return whole


def days(table: Table, batch: pa.Table) -> Integers:
    """The number of the day under which each row is filed, from 1970 on."""
    if "day" in table.columns:
        filed: Integers = batch["day"].cast(pa.int32()).to_numpy().astype(np.int64)
        return filed
    return integers(batch["timestamp"]) // MICROSECONDS_PER_DAY


def _typed(part: pa.Table, symbol: str, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        column = pa.repeat(symbol, len(part)) if field.name == "symbol" else part[field.name]
        if pa.types.is_timestamp(field.type) and pa.types.is_integer(column.type):
            column = column.cast(pa.timestamp("us"))
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=schema)


def _arrow_type(column: Column[Any]) -> pa.DataType:
    if isinstance(column.type, UtcTimestamp):
        return pa.timestamp("us", tz="UTC")
    if holds_numbers(column):
        return pa.from_numpy_dtype(numpy_type(column))
    return pa.date32() if isinstance(column.type, Date) else pa.string()


def _array(column: Column[Any], values: Any) -> pa.Array | pa.ChunkedArray:
    """An array or a series in the Arrow type of `column`."""
    is_array = isinstance(values, np.ndarray)
    if isinstance(column.type, UtcTimestamp):
        moments = times(column, values) if is_array else series_times(column, values)
        return pa.array(moments, type=pa.timestamp("us")).cast(_arrow_type(column))
    if holds_numbers(column):
        figures = numbers(column, values) if is_array else series_numbers(column, values)
        return pa.array(figures, from_pandas=bool(column.nullable))
    return _texts_or_days(column, values)


def _texts_or_days(column: Column[Any], values: Any) -> pa.Array | pa.ChunkedArray:
    kind = _arrow_type(column)
    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"column {column.name} must hold {kind}: {error}") from None
    given = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    text = pa.types.is_string(kind) and (pa.types.is_string(given) or pa.types.is_large_string(given))
    if not (text or given == kind or pa.types.is_null(given)):
        raise ValueError(f"column {column.name} must hold {kind}, not {given}")
    return array.cast(kind)
