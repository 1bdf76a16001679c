"""The price series: what it refuses."""

from datetime import datetime, timezone

import numpy as np
import pytest

from market_pipeline.anomalies.series import PriceSeries, to_datetime, to_datetime64


@pytest.mark.parametrize("seconds", [[0, 300, 300], [0, 600, 300]])
def test_times_that_do_not_increase_strictly_are_refused(series, seconds):
    with pytest.raises(ValueError, match="BTC: times must increase strictly.*sort the quotes"):
        series([1.0, 2.0, 3.0], seconds)


@pytest.mark.parametrize("price", [0.0, -1.0, np.nan, np.inf])
def test_a_price_that_has_no_logarithm_is_refused(series, price):
    with pytest.raises(ValueError, match="BTC: price .* is not a finite number above zero"):
        series([1.0, price], [0, 300])


@pytest.mark.parametrize("size", [1, 3])
def test_a_quote_without_time_is_refused(series, size):
    whole = series(np.arange(1.0, size + 1), np.arange(size))
    times = whole.timestamps.copy()
    times[size - 1] = np.datetime64("NaT", "us")
    with pytest.raises(ValueError, match=f"BTC: quote number {size - 1} has no time"):
        PriceSeries("BTC", times, whole.prices)


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="BTC: 0 timestamps for 1 prices"):
        PriceSeries("BTC", np.array([], dtype="datetime64[us]"), np.array([1.0]))


def test_times_survive_the_way_through_numpy_to_the_microsecond():
    moment = datetime(2023, 6, 10, 4, 15, 0, 123456, tzinfo=timezone.utc)
    assert to_datetime(to_datetime64(moment)) == moment
    assert to_datetime(to_datetime64(moment)).tzinfo is timezone.utc
