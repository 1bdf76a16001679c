"""What is derived is replaced: exactly the asked slices, all or nothing."""

from datetime import timedelta

import pytest

from market_pipeline.core.slices import Slice, merge_days
from market_pipeline.storage.db_errors import WriteFailed
from market_pipeline.storage.rows.write import replace, upsert
from market_pipeline.storage.schema.tables import price_anomalies, rejected_prices
from market_pipeline_tests.builders import START, anomalies_of, anomaly_row, at, refusal_row, refusals_of

pytestmark = pytest.mark.usefixtures("path")
DAY = 24 * 60


@pytest.fixture
def day_of():
    """The slice of a symbol's n-th day."""

    def slice_of(symbol, number, last=None):
        first = START.date() + timedelta(days=number)
        return Slice(symbol, first, first + timedelta(days=(number if last is None else last) - number))

    return slice_of


@pytest.fixture
def grid(database):
    """One anomaly a day for four days of two symbols, at the very first and last instants of days."""
    rows = [
        anomaly_row(symbol, day * DAY + offset)
        for symbol in ("ADA", "BTC")
        for day in range(4)
        for offset in (0, DAY - 1e-6 / 60)
    ]
    upsert(database, price_anomalies, anomalies_of(*rows))
    return rows


def test_exactly_the_slices_are_replaced(database, given, stored, grid, day_of):
    new = anomaly_row("BTC", 1 * DAY + 7)
    assert replace(database, price_anomalies, given(anomalies_of(new)), [day_of("BTC", 1, 2)]) == 1
    kept = [
        row
        for row in grid
        if row["symbol"] == "ADA" or not at(DAY) <= row["timestamp"] < at(3 * DAY)
    ]
    assert stored(database, price_anomalies) == sorted(
        [*kept, new], key=lambda row: (row["symbol"], row["timestamp"])
    )


def test_no_rows_empty_exactly_the_slices(database, given, stored, grid, day_of):
    assert (
        replace(database, price_anomalies, given(anomalies_of()), [day_of("ADA", 0), day_of("ADA", 3)]) == 0
    )
    left = stored(database, price_anomalies)
    assert left == [
        row for row in grid if row["symbol"] == "BTC" or at(DAY) <= row["timestamp"] < at(3 * DAY)
    ]


def test_no_slices_and_no_rows_change_nothing(database, stored, grid):
    assert replace(database, price_anomalies, anomalies_of(), []) == 0
    assert stored(database, price_anomalies) == grid


@pytest.mark.parametrize(("symbol", "minutes"), [("ETH", DAY), ("BTC", DAY - 1), ("BTC", 2 * DAY)])
def test_a_row_outside_the_slices_is_refused_before_anything_is_deleted(
    database, given, stored, grid, day_of, symbol, minutes
):
    rows = anomalies_of(anomaly_row("BTC", DAY), anomaly_row(symbol, minutes))
    with pytest.raises(
        ValueError, match=f"1 rows for price_anomalies lie outside .* the first being {symbol} 2024-03"
    ):
        replace(database, price_anomalies, given(rows), [day_of("BTC", 1)])
    assert stored(database, price_anomalies) == grid


def test_a_refused_row_leaves_the_slices_as_they_were(database, given, stored, grid, day_of):
    """The deletion and the insertion are one transaction."""
    rows = anomalies_of(anomaly_row("BTC", DAY), anomaly_row("BTC", DAY + 5, direction="away"))
    with pytest.raises(
        WriteFailed, match=r"price_anomalies: the database refused the rows: .*Nothing was written"
    ):
        replace(database, price_anomalies, given(rows), [day_of("BTC", 0, 3)])
    assert stored(database, price_anomalies) == grid


def test_days_with_gaps_between_are_replaced_without_the_days_between(database, stored, grid):
    first = START.date()
    days = [(first + timedelta(days=n), symbol) for n, symbol in [(3, "BTC"), (0, "ADA"), (0, "BTC")]]
    replace(database, price_anomalies, anomalies_of(), merge_days(days))
    expected = [row for row in grid if (row["timestamp"].date(), row["symbol"]) not in days]
    assert stored(database, price_anomalies) == expected


def test_a_table_with_days_is_replaced_by_the_day_a_row_is_filed_under(database, given, stored):
    """The time that a refused point claims may be any, or none."""
    first = START.date()
    filed = [
        refusal_row(1, timestamp=None),
        refusal_row(2, day=first + timedelta(days=1)),
        refusal_row(3, "ETH"),
    ]
    upsert(database, rejected_prices, given(refusals_of(*filed)))
    new = refusal_row(4, timestamp=at(90 * DAY))
    assert replace(database, rejected_prices, given(refusals_of(new)), [Slice("BTC", first, first)]) == 1
    assert stored(database, rejected_prices) == [filed[1], filed[2], new]
    with pytest.raises(ValueError, match="lie outside the partitions"):
        replace(database, rejected_prices, given(refusals_of(filed[1])), [Slice("BTC", first, first)])
