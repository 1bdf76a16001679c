"""Facts are upserted on their key: again is the same, and only what changed is written."""

import numpy as np
import pytest

from market_pipeline.core.slices import Slice
from market_pipeline.storage.rows.read import read_frame
from market_pipeline.storage.rows.write import BULK_FROM, upsert
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices, rejected_prices


@pytest.mark.usefixtures("path")
def test_what_is_written_is_stored(database, make, given, stored):
    rows = [make.price("ADA", 5, 0.4), make.price("BTC", 0, 64_000.5), make.price("BTC", 5, 64_001.25)]
    assert upsert(database, raw_prices, given(make.prices(*rows))) == 3
    assert stored(database, raw_prices) == rows


@pytest.mark.usefixtures("path")
def test_writing_the_same_again_writes_nothing(database, make, given, stored):
    rows = given(make.prices(make.price(minutes=0), make.price(minutes=5)))
    upsert(database, raw_prices, rows)
    before = stored(database, raw_prices)
    assert upsert(database, raw_prices, rows) == 0
    assert stored(database, raw_prices) == before


@pytest.mark.usefixtures("path")
def test_the_same_price_learnt_again_keeps_when_and_where_it_was_learnt_first(database, make, stored):
    upsert(database, raw_prices, make.prices(make.price()))
    again = make.price(source="market_chart", ingested_at=make.at(900))
    assert upsert(database, raw_prices, make.prices(again)) == 0
    assert stored(database, raw_prices) == [make.price()]


@pytest.mark.usefixtures("path")
def test_only_the_row_with_another_price_is_changed_and_counted(database, make, stored):
    upsert(database, raw_prices, make.prices(make.price(minutes=0), make.price(minutes=5)))
    changed = make.price(minutes=5, price=101.0, source="market_chart", ingested_at=make.at(900))
    same = make.price(minutes=0, source="market_chart", ingested_at=make.at(900))
    new = make.price(minutes=10)
    assert upsert(database, raw_prices, make.prices(same, changed, new)) == 2
    assert stored(database, raw_prices) == [make.price(minutes=0), changed, new]


@pytest.mark.usefixtures("path")
def test_of_equal_keys_in_one_write_the_last_counts(database, make, given, stored):
    rows = [make.price(minutes=5, price=1.0), make.price("ADA", price=3.0), make.price(minutes=5, price=2.0)]
    assert upsert(database, raw_prices, given(make.prices(*rows))) == 2
    assert stored(database, raw_prices) == [rows[1], rows[2]]


@pytest.mark.usefixtures("path")
def test_no_rows_are_no_change(database, make, given, stored):
    upsert(database, raw_prices, make.prices(make.price()))
    assert upsert(database, raw_prices, given(make.prices())) == 0
    assert len(stored(database, raw_prices)) == 1


@pytest.mark.usefixtures("path")
def test_a_refusal_met_again_is_the_same_row_with_the_newest_run(database, make, given, stored):
    upsert(database, rejected_prices, given(make.refusals(make.refusal(1), make.refusal(2))))
    again = make.refusal(1, run_id="r2", refused_at=make.at(60))
    assert upsert(database, rejected_prices, given(make.refusals(again))) == 1
    assert stored(database, rejected_prices) == [again, make.refusal(2)]


@pytest.mark.usefixtures("path")
def test_a_score_that_becomes_known_is_a_change(database, make, stored):
    """The comparison must hold for a column that was NULL, or is."""
    upsert(database, price_anomalies, make.anomalies(make.anomaly(expected_move=None)))
    assert upsert(database, price_anomalies, make.anomalies(make.anomaly(expected_move=0.02, score=7.0))) == 1
    assert stored(database, price_anomalies)[0]["expected_move"] == 0.02


def test_a_write_of_many_rows_takes_the_bulk_path_by_itself(database, make):
    count = BULK_FROM + 1
    times = np.datetime64("2024-03-01", "us") + np.arange(count) * np.timedelta64(1, "s")
    template = make.prices(*[make.price()] * count)
    rows = type(template)({**template.arrays, "timestamp": times, "price": 1.0 + np.arange(count) / 7})
    assert upsert(database, raw_prices, rows) == count
    assert upsert(database, raw_prices, rows) == 0
    first, last = times[0].item().date(), times[-1].item().date()
    found = read_frame(database, raw_prices, [Slice("BTC", first, last)])
    assert found["price"].tolist() == rows["price"].tolist()
    assert found["timestamp"].tolist() == rows.to_frame()["timestamp"].tolist()
