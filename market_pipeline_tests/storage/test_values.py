"""Values come back as they went in, on both databases, or are refused."""

from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest
from sqlalchemy import text

from market_pipeline.core.slices import Slice
from market_pipeline.storage.db_errors import WriteFailed
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.read import read_columns, read_frame, rows_per_day
from market_pipeline.storage.rows.write import replace, upsert
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

EVER = [datetime(2013, 1, 1, tzinfo=timezone.utc).date(), datetime(2100, 12, 31, tzinfo=timezone.utc).date()]
NASTY = 'O\'Neil "said" \\ 100 % :name %s ? $1 \n\t {"price": "\\u0000"} — 比特币 🚀 --; DROP TABLE x'


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    "when",
    [
        datetime(2013, 1, 1, tzinfo=timezone.utc),
        datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=timezone.utc),
        datetime(2026, 11, 23, 4, 5, 6, 1, tzinfo=timezone.utc),
        datetime(2100, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
    ],
)
def test_times_keep_their_microseconds(database, given, stored, when):
    upsert(database, raw_prices, given(prices_of(price_row(timestamp=when, ingested_at=when))))
    assert stored(database, raw_prices)[0]["timestamp"] == when
    part = [Slice("BTC", when.date(), when.date())]
    assert read_columns(database, raw_prices, part).datetimes("ingested_at") == [when]
    assert read_frame(database, raw_prices, part)["timestamp"].tolist() == [when]
    assert rows_per_day(database, raw_prices, part) == {(when.date(), "BTC"): 1}


@pytest.mark.usefixtures("path")
def test_times_of_another_zone_are_converted(database, stored):
    tokyo = timezone(timedelta(hours=9))
    frame = prices_of(price_row()).to_frame()
    frame["timestamp"] = frame["timestamp"].dt.tz_convert(tokyo)
    frame["ingested_at"] = frame["ingested_at"].dt.tz_convert("America/New_York")
    upsert(database, raw_prices, frame)
    upsert(database, raw_prices, prices_of(price_row(minutes=5, timestamp=at(5).astimezone(tokyo))))
    assert stored(database, raw_prices) == [price_row(), price_row(minutes=5)]
    assert all(row["timestamp"].utcoffset() == timedelta(0) for row in stored(database, raw_prices))


def test_a_session_in_another_time_zone_reads_and_writes_the_same(postgres_database, stored, path):
    rows = [price_row(minutes=minutes) for minutes in (0, 719, 1439, 1440)]
    with postgres_database.writing() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar()
        connection.execute(text(f"ALTER DATABASE {name} SET timezone TO 'Pacific/Auckland'"))
    elsewhere = Database(postgres_database.url)
    upsert(elsewhere, raw_prices, prices_of(*rows))
    replace(
        elsewhere,
        price_anomalies,
        anomalies_of(anomaly_row()),
        [Slice("BTC", START.date(), START.date())],
    )
    with elsewhere.reading() as connection:
        assert connection.execute(text("SHOW timezone")).scalar() == "Pacific/Auckland"
    assert stored(elsewhere, raw_prices) == rows
    part = [Slice("BTC", START.date(), START.date())]
    assert read_columns(elsewhere, raw_prices, part).datetimes("timestamp") == [
        row["timestamp"] for row in rows[:3]
    ]
    frame = read_frame(elsewhere, raw_prices, part)
    assert frame["timestamp"].tolist() == [row["timestamp"] for row in rows[:3]]
    assert str(frame["timestamp"].dt.tz) == "UTC"
    assert rows_per_day(elsewhere, raw_prices, part) == {(START.date(), "BTC"): 3}
    elsewhere.dispose()


@pytest.mark.usefixtures("path")
def test_text_of_any_kind_comes_back_unchanged(database, given):
    rows = [refusal_row(1, detail=NASTY, payload=NASTY), refusal_row(2, payload="x" * 100_000)]
    upsert(database, rejected_prices, given(refusals_of(*rows)))
    part = [Slice("BTC", START.date(), START.date())]
    assert read_columns(database, rejected_prices, part)["payload"].tolist() == [NASTY, "x" * 100_000]
    assert read_frame(database, rejected_prices, part)["detail"].tolist() == [NASTY, "-1"]


def test_a_symbol_with_a_quote_is_only_a_symbol(database):
    """ADBC gets its statements with the values written out."""
    odd = "A'B"
    upsert(database, raw_prices, prices_of(price_row(odd), price_row("BTC")))
    assert read_frame(database, raw_prices, [Slice(odd, *EVER)])["symbol"].tolist() == [odd]


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("count", [1, 3000])
def test_missing_values_come_back_missing_wherever_they_stand(database, given, count):
    """ADBC's SQLite fixes a column's type by the first rows: NULL there must not spoil the others."""
    rows = [anomaly_row(minutes=n, expected_move=None) for n in range(count)]
    rows += [anomaly_row(minutes=count, expected_move=0.02)]
    upsert(database, price_anomalies, given(anomalies_of(*rows)))
    frame = read_frame(database, price_anomalies, [Slice("BTC", *EVER)])
    assert frame["expected_move"].isna().tolist() == [True] * count + [False]
    assert frame["expected_move"].iloc[-1] == 0.02
    refusals = [refusal_row(n, timestamp=None) for n in range(count)] + [refusal_row(count)]
    upsert(database, rejected_prices, given(refusals_of(*refusals)))
    part = [Slice("BTC", START.date(), START.date())]
    frame = read_frame(database, rejected_prices, part)
    assert frame["timestamp"].isna().tolist() == [True] * count + [False]
    assert frame["timestamp"].iloc[-1] == at(count)
    columns = read_columns(database, rejected_prices, part)
    assert pd.isna(columns["timestamp"]).tolist() == [True] * count + [False]


@pytest.mark.usefixtures("path")
def test_numbers_come_back_to_the_last_bit(database):
    prices = [1e-300, 5e-324, 0.1 + 0.2, 1 / 3, 123_456_789.123_456_78, 1e299, 64_000.0]
    upsert(database, raw_prices, prices_of(*(price_row(minutes=n, price=p) for n, p in enumerate(prices))))
    assert read_columns(database, raw_prices, [Slice("BTC", *EVER)])["price"].tolist() == prices
    assert read_frame(database, raw_prices, [Slice("BTC", *EVER)])["price"].tolist() == prices


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf"), float("-inf"), 1e300])
def test_the_table_itself_refuses_a_price_that_is_not_a_number_above_zero(
    database, given, stored, price
):
    rows = given(prices_of(price_row(minutes=0), price_row(minutes=5, price=price)))
    with pytest.raises(WriteFailed, match="raw_prices: the database refused the rows"):
        upsert(database, raw_prices, rows)
    assert stored(database, raw_prices) == []


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("source", ["guess", None])
def test_the_table_itself_refuses_a_source_that_is_not_known(database, given, stored, source):
    with pytest.raises(WriteFailed):
        upsert(database, raw_prices, given(prices_of(price_row(), price_row(minutes=5, source=source))))
    assert stored(database, raw_prices) == []
