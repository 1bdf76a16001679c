"""The price series: what it refuses; and the classes of intervals."""

import numpy as np
import pytest

from market_pipeline.anomalies.series import PriceSeries, cadence_of
from market_pipeline_tests.anomalies.quotes import series


@pytest.mark.parametrize("seconds", [[0, 300, 300], [0, 600, 300]])
def test_times_that_do_not_increase_strictly_are_refused(seconds: list[float]) -> None:
    with pytest.raises(ValueError, match="BTC: times must increase strictly"):
        series([1.0, 2.0, 3.0], seconds)


@pytest.mark.parametrize("price", [0.0, -1.0, np.nan, np.inf])
def test_a_price_that_has_no_logarithm_is_refused(price: float) -> None:
    with pytest.raises(ValueError, match=r"BTC: price .* at 2023-06-01T00:05"):
        series([1.0, price], [0, 300])


@pytest.mark.parametrize("size", [1, 3])
def test_a_quote_without_time_is_refused(size: int) -> None:
    whole = series(np.arange(1.0, size + 1), np.arange(size))
    times = whole.timestamps.copy()
    times[size - 1] = np.datetime64("NaT", "us")
    with pytest.raises(ValueError, match=f"BTC: quote number {size - 1} has no time"):
        PriceSeries("BTC", times, whole.prices)


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="BTC: 0 timestamps for 1 prices"):
        PriceSeries("BTC", np.array([], dtype="datetime64[us]"), np.array([1.0]))


@pytest.mark.parametrize(
    ("minutes", "cadence"), [(5, "5-minute"), (20, "5-minute"), (55, "hourly"), (360, "hourly"), (1440, "daily")]
)
def test_intervals_fall_into_three_cadences(minutes: float, cadence: str) -> None:
    assert cadence_of(minutes) == cadence
