"""What is given for writing fits the table, or is refused by name before the database is asked."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice
from market_pipeline.prices.quotes import Source
from market_pipeline.storage.rows.read import read_columns, read_frame
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices, rejected_prices
from market_pipeline_tests.builders import (
    START,
    anomalies_of,
    anomaly_row,
    at,
    price_row,
    prices_of,
    refusal_row,
    refusals_of,
)

pytestmark = pytest.mark.usefixtures("path")


@pytest.mark.parametrize(
    "dtype", ["object", "string[python]", "string[pyarrow]", "category", pd.Series(["text"]).dtype]
)
def test_every_dtype_that_pandas_has_for_text_is_text(database, stored, dtype):
    frame = prices_of(price_row(minutes=0), price_row(minutes=5)).to_frame()
    frame = frame.astype({"symbol": dtype, "source": dtype})
    assert upsert(database, raw_prices, frame) == 2
    assert stored(database, raw_prices) == [price_row(minutes=0), price_row(minutes=5)]


@pytest.mark.parametrize("dtype", ["int64", "float32", "Int64", "Float64", "object"])
def test_every_dtype_that_pandas_has_for_numbers_is_a_number(database, stored, dtype):
    frame = prices_of(price_row(price=100.0)).to_frame().astype({"price": dtype})
    upsert(database, raw_prices, frame)
    assert [row["price"] for row in stored(database, raw_prices)] == [100.0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_any_resolution_are_stored(sqlite_database, stored, unit):
    frame = prices_of(price_row()).to_frame()
    frame["timestamp"] = frame["timestamp"].dt.as_unit(unit)
    upsert(sqlite_database, raw_prices, frame)
    assert stored(sqlite_database, raw_prices) == [price_row()]


def test_the_order_of_columns_and_the_index_do_not_matter(database, stored):
    frame = prices_of(price_row(minutes=0), price_row(minutes=5)).to_frame()
    frame = frame[list(reversed(frame.columns))].set_index(pd.Index([7, 7]))
    upsert(database, raw_prices, frame)
    assert stored(database, raw_prices) == [price_row(minutes=0), price_row(minutes=5)]


def test_a_frame_without_rows_needs_no_types(database):
    """`DataFrame(columns=...)` is what an asset returns that found nothing."""
    assert upsert(database, raw_prices, pd.DataFrame(columns=[c.name for c in raw_prices.columns])) == 0


def test_a_column_of_nothing_needs_no_type(database, stored):
    refusals = refusals_of(refusal_row(1, timestamp=None), refusal_row(2, timestamp=None)).to_frame()
    refusals["timestamp"] = pd.Series([None, None], dtype=object)
    upsert(database, rejected_prices, refusals)
    anomalies = anomalies_of(anomaly_row(expected_move=None)).to_frame()
    anomalies["expected_move"] = pd.Series([None], dtype=object)
    upsert(database, price_anomalies, anomalies)
    assert [row["timestamp"] for row in stored(database, rejected_prices)] == [None, None]
    assert [row["expected_move"] for row in stored(database, price_anomalies)] == [None]


def test_missing_and_unknown_columns_are_named(sqlite_database, given, stored):
    columns = prices_of(price_row())
    arrays = {("prise" if name == "price" else name): array for name, array in columns.arrays.items()}
    with pytest.raises(
        ValueError, match=r"rows for raw_prices .* missing: \['price'\], unknown: \['prise'\]"
    ):
        upsert(sqlite_database, raw_prices, given(Columns(arrays)))
    assert stored(sqlite_database, raw_prices) == []


def test_a_column_that_stands_twice_is_named(sqlite_database):
    frame = prices_of(price_row()).to_frame()
    with pytest.raises(ValueError, match=r"twice: \['price'\]"):
        upsert(sqlite_database, raw_prices, pd.concat([frame, frame[["price"]]], axis=1))


def test_naive_times_are_refused_with_the_remedy(sqlite_database, stored):
    frame = prices_of(price_row()).to_frame()
    frame["timestamp"] = frame["timestamp"].dt.tz_localize(None)
    with pytest.raises(
        ValueError, match=r"column timestamp has no time zone .* pd.to_datetime\(..., utc=True\)"
    ):
        upsert(sqlite_database, raw_prices, frame)
    with pytest.raises(ValueError, match="has no time zone; give an aware UTC datetime"):
        prices_of(price_row(timestamp=START.replace(tzinfo=None)))
    assert stored(sqlite_database, raw_prices) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("symbol", 5),
        ("source", 5.5),
        ("price", "100"),
        ("price", True),
        ("price", object()),
        ("timestamp", "2024-03-01"),
    ],
)
def test_a_value_of_another_type_is_refused_by_column(sqlite_database, stored, given, name, value):
    """SQLite would store anything anywhere."""
    columns = prices_of(price_row())
    wrong = Columns({**columns.arrays, name: np.array([value], dtype=object)})
    with pytest.raises(ValueError, match=f"column {name} "):
        upsert(sqlite_database, raw_prices, wrong)
    frame = columns.to_frame()
    frame[name] = pd.Series([value])
    with pytest.raises(ValueError, match=f"column {name} "):
        upsert(sqlite_database, raw_prices, frame)
    assert stored(sqlite_database, raw_prices) == []


@pytest.mark.parametrize("value", ["2024-03-01", pd.Timestamp("2024-03-01")])
def test_a_day_is_a_date_and_nothing_else(sqlite_database, given, value):
    columns = refusals_of(refusal_row(1))
    wrong = Columns({**columns.arrays, "day": np.array([value], dtype=object)})
    with pytest.raises(ValueError, match="column day must hold date"):
        upsert(sqlite_database, rejected_prices, given(wrong))


@pytest.mark.parametrize("name", ["symbol", "timestamp"])
def test_a_key_without_value_is_refused(sqlite_database, given, name):
    with pytest.raises(
        ValueError, match=f"column {name} of raw_prices is part of the key and must not be empty"
    ):
        upsert(sqlite_database, raw_prices, given(prices_of(price_row(), price_row(**{name: None}))))


def test_text_that_is_no_unicode_is_refused(database, given, stored):
    with pytest.raises(ValueError):
        upsert(
            database, rejected_prices, given(refusals_of(refusal_row(1), refusal_row(2, detail="\ud800")))
        )
    assert stored(database, rejected_prices) == []


def test_records_are_dataclasses_or_mappings_with_exactly_the_columns():
    @dataclass
    class Row:
        symbol: str
        coin_id: str
        timestamp: object
        price: float
        source: Source
        ingested_at: object

    row = Row("BTC", "bitcoin", at(0), 1.0, Source.LIVE, at(1))
    assert columns_of(raw_prices, [row])["source"].tolist() == ["simple_price"]
    with pytest.raises(ValueError, match=r"missing: \['price'\], unknown: \['prise'\]"):
        columns_of(raw_prices, [{**{k: v for k, v in price_row().items() if k != "price"}, "prise": 1.0}])
    with pytest.raises(ValueError, match="a row is a dataclass or a mapping, not tuple"):
        columns_of(raw_prices, [("BTC",)])


def test_a_frame_read_has_the_same_dtypes_with_and_without_rows(database):
    rows = {
        raw_prices: prices_of(price_row()),
        rejected_prices: refusals_of(refusal_row(1)),
        price_anomalies: anomalies_of(anomaly_row(expected_move=None)),
    }
    day = START.date()
    for table in rows:
        empty, none = read_frame(database, table, [Slice("BTC", day, day)]), read_frame(database, table, [])
        upsert(database, table, rows[table])
        full = read_frame(database, table, [Slice("BTC", day, day)])
        assert len(full) == 1 and len(empty) == len(none) == 0
        assert full.dtypes.to_dict() == empty.dtypes.to_dict() == none.dtypes.to_dict()
        assert full.dtypes.to_dict() == full[list(rows[table].arrays)].dtypes.to_dict()
        for name in full.columns:
            kind = rows[table][name].dtype.kind
            assert (str(full[name].dtype) == "datetime64[us, UTC]") == (kind == "M"), name
            assert (full[name].dtype == np.float64) == (kind == "f"), name


def test_columns_read_have_the_same_types_with_and_without_rows(database):
    day = START.date()
    part = [Slice("BTC", day, day)]
    empty, none = read_columns(database, raw_prices, part), read_columns(database, raw_prices, [])
    upsert(database, raw_prices, prices_of(price_row()))
    full = read_columns(database, raw_prices, part)
    kinds = [{name: array.dtype for name, array in found.arrays.items()} for found in (empty, none, full)]
    assert kinds[0] == kinds[1] == kinds[2]
    assert list(full.arrays) == [column.name for column in raw_prices.columns]
