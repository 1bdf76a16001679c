"""Facts are upserted on their key: again is the same, and only what changed is written."""

import numpy as np
import pytest

from market_pipeline.core.slices import Slice
from market_pipeline.storage.rows.read import read_frame
from market_pipeline.storage.rows.write import BULK_FROM, upsert
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices, rejected_prices
from market_pipeline_tests.builders import anomalies_of, anomaly_row, at, price_row, prices_of, refusal_row, refusals_of


@pytest.mark.usefixtures("path")
def test_what_is_written_is_stored(database, given, stored):
    rows = [price_row("ADA", 5, 0.4), price_row("BTC", 0, 64_000.5), price_row("BTC", 5, 64_001.25)]
    assert upsert(database, raw_prices, given(prices_of(*rows))) == 3
    assert stored(database, raw_prices) == rows


@pytest.mark.usefixtures("path")
def test_writing_the_same_again_writes_nothing(database, given, stored):
    rows = given(prices_of(price_row(minutes=0), price_row(minutes=5)))
    upsert(database, raw_prices, rows)
    before = stored(database, raw_prices)
    assert upsert(database, raw_prices, rows) == 0
    assert stored(database, raw_prices) == before


@pytest.mark.usefixtures("path")
def test_the_same_price_learnt_again_keeps_when_and_where_it_was_learnt_first(database, stored):
    upsert(database, raw_prices, prices_of(price_row()))
    again = price_row(source="market_chart", ingested_at=at(900))
    assert upsert(database, raw_prices, prices_of(again)) == 0
    assert stored(database, raw_prices) == [price_row()]


@pytest.mark.usefixtures("path")
def test_only_the_row_with_another_price_is_changed_and_counted(database, stored):
    upsert(database, raw_prices, prices_of(price_row(minutes=0), price_row(minutes=5)))
    changed = price_row(minutes=5, price=101.0, source="market_chart", ingested_at=at(900))
    same = price_row(minutes=0, source="market_chart", ingested_at=at(900))
    new = price_row(minutes=10)
    assert upsert(database, raw_prices, prices_of(same, changed, new)) == 2
    assert stored(database, raw_prices) == [price_row(minutes=0), changed, new]


@pytest.mark.usefixtures("path")
def test_of_equal_keys_in_one_write_the_last_counts(database, given, stored):
    rows = [price_row(minutes=5, price=1.0), price_row("ADA", price=3.0), price_row(minutes=5, price=2.0)]
    assert upsert(database, raw_prices, given(prices_of(*rows))) == 2
    assert stored(database, raw_prices) == [rows[1], rows[2]]


@pytest.mark.usefixtures("path")
def test_no_rows_are_no_change(database, given, stored):
    upsert(database, raw_prices, prices_of(price_row()))
    assert upsert(database, raw_prices, given(prices_of())) == 0
    assert len(stored(database, raw_prices)) == 1


@pytest.mark.usefixtures("path")
def test_a_refusal_met_again_is_the_same_row_with_the_newest_run(database, given, stored):
    upsert(database, rejected_prices, given(refusals_of(refusal_row(1), refusal_row(2))))
    again = refusal_row(1, run_id="r2", refused_at=at(60))
    assert upsert(database, rejected_prices, given(refusals_of(again))) == 1
    assert stored(database, rejected_prices) == [again, refusal_row(2)]


@pytest.mark.usefixtures("path")
def test_a_score_that_becomes_known_is_a_change(database, stored):
    """The comparison must hold for a column that was NULL, or is."""
    upsert(database, price_anomalies, anomalies_of(anomaly_row(expected_move=None)))
    assert upsert(database, price_anomalies, anomalies_of(anomaly_row(expected_move=0.02, score=7.0))) == 1
    assert stored(database, price_anomalies)[0]["expected_move"] == 0.02


def test_a_write_of_many_rows_takes_the_bulk_path_by_itself(database):
    count = BULK_FROM + 1
    times = np.datetime64("2024-03-01", "us") + np.arange(count) * np.timedelta64(1, "s")
    template = prices_of(*[price_row()] * count)
    rows = type(template)({**template.arrays, "timestamp": times, "price": 1.0 + np.arange(count) / 7})
    assert upsert(database, raw_prices, rows) == count
    assert upsert(database, raw_prices, rows) == 0
    first, last = times[0].item().date(), times[-1].item().date()
    found = read_frame(database, raw_prices, [Slice("BTC", first, last)])
    assert found["price"].tolist() == rows["price"].tolist()
    assert found["timestamp"].tolist() == rows.to_frame()["timestamp"].tolist()
