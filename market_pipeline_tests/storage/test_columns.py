"""`Columns`: named arrays of one length, from and to DataFrames."""

from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from market_pipeline.core.columns import Columns
from market_pipeline_tests.builders import START


def test_columns_of_different_length_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="a 2, b 1"):
        Columns({"a": np.zeros(2), "b": np.zeros(1)})


def test_rows_are_chosen_by_a_mask_or_by_number() -> None:
    columns = Columns({"a": np.arange(4), "b": np.arange(4) * 10})
    assert columns.where(columns["a"] > 1)["b"].tolist() == [20, 30]
    assert columns.take(np.array([3, 0]))["b"].tolist() == [30, 0]
    assert len(Columns({})) == 0


def test_a_frame_has_aware_times_even_without_rows() -> None:
    frame = Columns({"when": np.empty(0, dtype="datetime64[us]")}).to_frame()
    assert str(frame["when"].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize("dtype", ["object", "string[python]", "string[pyarrow]", "category", "str"])
def test_text_of_every_dtype_of_pandas_becomes_objects(dtype: str) -> None:
    frame = pd.DataFrame({"text": pd.Series(["a", None, "b"], index=[7, 7, 8], dtype=dtype)})
    array = Columns.from_frame(frame)["text"]
    assert array.dtype == object and array.tolist()[::2] == ["a", "b"]
    assert dtype == "str" or array[1] is None


@pytest.mark.parametrize(("dtype", "values"), [
    ("int64", [1, 2]), ("float32", [1.5, 2]), ("float64", [1.5, np.nan]), ("Int64", [1, None]),
    ("Float64", [1.5, None]),
])
def test_numbers_of_every_dtype_of_pandas_become_floats(dtype: str, values: list[Any]) -> None:
    array = Columns.from_frame(pd.DataFrame({"number": pd.Series(values, dtype=dtype)}))["number"]
    expected = [np.nan if value is None else value for value in values]
    assert array.dtype == np.float64 and np.array_equal(array, expected, equal_nan=True)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_times_of_any_zone_and_resolution_become_microseconds_utc(
    unit: Literal["s", "ms", "us", "ns"], zone: str
) -> None:
    times = pd.Series([START, None], dtype="datetime64[us, UTC]").dt.tz_convert(zone).dt.as_unit(unit)
    columns = Columns.from_frame(pd.DataFrame({"when": times}))
    assert columns["when"].dtype == "datetime64[us]" and np.isnat(columns["when"]).tolist() == [False, True]
    assert columns.where(~np.isnat(columns["when"])).datetimes("when") == [START]


def test_times_without_zone_and_names_given_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="column when has no time zone"):
        Columns.from_frame(pd.DataFrame({"when": [START.replace(tzinfo=None)]}))
    with pytest.raises(ValueError, match="given twice: a"):
        Columns.from_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))
