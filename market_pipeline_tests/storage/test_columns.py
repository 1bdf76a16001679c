"""`Columns`: named arrays of one length."""

import numpy as np
import pytest

from market_pipeline.core.columns import Columns


def test_columns_of_different_length_are_refused_by_name():
    with pytest.raises(ValueError, match="columns differ in length: a 2, b 1"):
        Columns({"a": np.zeros(2), "b": np.zeros(1)})


def test_rows_are_chosen_by_a_mask_or_by_number():
    columns = Columns({"a": np.arange(4), "b": np.arange(4) * 10})
    assert columns.where(columns["a"] > 1)["b"].tolist() == [20, 30]
    assert columns.take(np.array([3, 0]))["b"].tolist() == [30, 0]
    assert len(Columns({})) == 0


def test_a_frame_has_aware_times_even_without_rows():
    frame = Columns({"when": np.empty(0, dtype="datetime64[us]")}).to_frame()
    assert str(frame["when"].dtype) == "datetime64[us, UTC]"
