"""Detection by the day: a day's rows depend on nothing but its own eight days of quotes."""

import subprocess
import sys
from dataclasses import fields
from datetime import date, timedelta

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.detect import DETECTORS, detect_day, detect_days
from market_pipeline.storage.tables import price_anomalies

DAYS = 12
DAY = date(2023, 6, 10)


@pytest.fixture
def eventful(walk, series):
    """Twelve days from 2023-06-01 with a jump of 8 % every 17 hours or so."""

    def build(symbol="BTC", seed=1):
        seconds = np.arange(DAYS * 288) * 300
        jumps = np.cumprod(np.where(np.arange(len(seconds)) % 205 == 204, 1.08, 1.0))
        return series(walk(seconds, seed).prices * jumps, seconds, symbol)

    return build


def test_an_anomaly_has_exactly_the_columns_of_its_table():
    assert [field.name for field in fields(Anomaly)] == [column.name for column in price_anomalies.columns]


def test_the_detectors_in_use_have_names_that_fit_their_column():
    assert [detector.name for detector in DETECTORS] == ["two_point", "ewma"]


def test_only_quotes_of_the_day_are_flagged_by_time_and_then_by_detector(eventful):
    rows = detect_day(eventful(), DAY)
    assert {row.timestamp.date() for row in rows} == {DAY}
    assert {row.detector for row in rows} == {"ewma", "two_point"}
    keys = [(row.timestamp, row.detector) for row in rows]
    assert keys == sorted(keys)


def test_a_move_over_midnight_belongs_to_the_day_of_its_second_quote(series):
    quotes = series([100, 110], [86_400 - 100, 86_400])
    assert detect_day(quotes, date(2023, 6, 1)) == []
    [row] = detect_day(quotes, date(2023, 6, 2))
    assert row.timestamp_before.date() == date(2023, 6, 1)


def test_a_day_is_the_same_alone_in_a_range_and_again(eventful, as_columns):
    quotes = as_columns(eventful("BTC"), eventful("ETH", 2))
    days = [date(2023, 6, 1) + timedelta(days=number) for number in range(DAYS)]
    together = detect_days(quotes, [(day, symbol) for day in days for symbol in ("BTC", "ETH")])
    alone = [row for symbol in ("BTC", "ETH") for day in days for row in detect_days(quotes, [(day, symbol)])]
    assert len(together) > 2 * DAYS
    assert together == alone
    assert together == detect_days(quotes, [(day, symbol) for day in days for symbol in ("BTC", "ETH")])


def test_quotes_outside_the_eight_days_do_not_matter(eventful):
    """A run of one day reads less than a run of a month; both must write the same rows."""
    whole = eventful()
    start = whole.time(0) + timedelta(days=(DAY - date(2023, 6, 1)).days)
    window = whole.between(start - timedelta(days=7), start + timedelta(days=1))
    assert len(window) < len(whole)
    assert detect_day(window, DAY) == detect_day(whole, DAY) != []


def test_a_quote_of_more_than_seven_days_before_the_day_is_not_compared_with(series):
    day = date(2023, 6, 9)
    assert detect_day(series([100, 200], [86_399, 8 * 86_400 + 60]), day) == []
    assert len(detect_day(series([100, 200], [86_400, 8 * 86_400 + 60]), day)) == 1


def test_quotes_that_arrive_later_do_not_change_earlier_rows(eventful):
    whole = eventful()
    noon = whole.time(0) + timedelta(days=9, hours=12)
    until_noon = detect_day(whole.between(whole.time(0), noon), DAY)
    assert until_noon == [row for row in detect_day(whole, DAY) if row.timestamp < noon]


def test_a_partition_without_quotes_has_no_anomalies(eventful, as_columns):
    assert detect_days(as_columns(eventful()), [(DAY, "DOT"), (date(2020, 1, 1), "BTC")]) == []


def test_no_quotes_at_all_are_no_anomalies(series, as_columns):
    assert detect_days(as_columns(series([], [])), [(DAY, "BTC")]) == []


def test_a_partition_asked_for_twice_is_answered_once(eventful, as_columns):
    quotes = as_columns(eventful())
    assert detect_days(quotes, [(DAY, "BTC"), (DAY, "BTC")]) == detect_days(quotes, [(DAY, "BTC")])


def test_symbols_may_come_in_the_order_of_the_database(eventful, as_columns):
    """PostgreSQL may sort text unlike Python; the rows of one symbol are together either way."""
    partitions = [(DAY, "BTC"), (DAY, "ETH")]
    one, other = eventful("BTC"), eventful("ETH", 2)
    assert detect_days(as_columns(other, one), partitions) == detect_days(as_columns(one, other), partitions)


def test_rows_that_are_not_sorted_are_refused(eventful, as_columns):
    one, other = eventful("BTC"), eventful("ETH")
    with pytest.raises(ValueError, match="the rows of BTC are not together; sort by symbol and timestamp"):
        detect_days(as_columns(one, other, one), [(DAY, "BTC")])


def test_detecting_imports_nothing_heavy():
    """A scheduled run pays for every import on every tick."""
    code = (
        "import sys, market_pipeline.anomalies.detect, market_pipeline.anomalies.chart;"
        "print([m for m in ('pandas', 'scipy', 'matplotlib', 'sqlalchemy', 'dagster') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
