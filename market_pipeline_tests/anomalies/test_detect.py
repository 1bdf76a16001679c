"""Detection by the day: a day's rows depend on nothing but its own eight days of quotes."""

import re
from dataclasses import fields
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import Anomaly, Kind, alarms
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.detect import detect_columns, detect_days
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.clock import start_of_day
from market_pipeline.core.columns import Columns
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline_tests.anomalies.quotes import as_columns, series, world

DAY = date(2023, 6, 9)
SYMBOLS = ("ADA", "BTC", "ETH", "SOL")
ALL_OF_DAY = [(DAY, symbol) for symbol in SYMBOLS]


def unknown(day: date) -> None:
    return None


@pytest.fixture(scope="module")
def quotes() -> Columns:
    """Ten days of four coins from 2023-06-01."""
    return world(7, hours=240)


@pytest.fixture(scope="module")
def whole(quotes: Columns) -> list[Anomaly]:
    """The rows of all ten days scored at once."""
    return detect_columns(score_columns(quotes))


@pytest.fixture(scope="module")
def day(quotes: Columns) -> list[Anomaly]:
    """The rows of one day."""
    return detect_days(quotes, ALL_OF_DAY, unknown)


def test_an_anomaly_has_the_columns_of_its_table_but_for_the_coin() -> None:
    columns = [column.name for column in price_anomalies.columns]
    columns.remove("coin_id")
    assert [field.name for field in fields(Anomaly)] == columns
    assert max(len(kind.value) for kind in Kind) <= getattr(price_anomalies.columns["kind"].type, "length", 0)


def test_only_wanted_partitions_are_flagged_by_symbol_time_and_kind(quotes: Columns) -> None:
    partitions = [(DAY, "SOL"), (DAY - timedelta(days=1), "ADA")]
    rows = detect_days(quotes, partitions, unknown)
    assert {(row.timestamp.date(), row.symbol) for row in rows} == set(partitions)
    assert {row.detector_version for row in rows} == {DETECTOR_VERSION}
    keys = [(row.symbol, row.timestamp, row.kind) for row in rows]
    assert keys == sorted(keys)


def test_a_day_is_the_same_alone_in_a_range_and_again(quotes: Columns) -> None:
    """Also for one symbol: the others are read for what the market did, whether they are wanted or not."""
    days = [DAY - timedelta(days=1), DAY]
    together = detect_days(quotes, [(day, symbol) for day in days for symbol in SYMBOLS], unknown)
    alone = [row for symbol in SYMBOLS for day in days for row in detect_days(quotes, [(day, symbol)], unknown)]
    assert together == alone
    assert any(row.kind == "market_move" for row in together)


def test_quotes_outside_the_eight_days_do_not_matter(quotes: Columns, day: list[Anomaly]) -> None:
    """A run of one day reads less than a run of a month; both must write the same rows."""
    start = start_of_day(DAY)
    window = quotes.between(start - timedelta(days=7), start + timedelta(days=1))
    assert len(window) < len(quotes)
    assert detect_days(window, ALL_OF_DAY, unknown) == day != []


def test_a_day_has_the_rows_that_the_whole_has(whole: list[Anomaly], day: list[Anomaly]) -> None:
    """But for what later quotes decide and for the seven days that the whole remembers longer."""
    of_day = [row for row in whole if row.timestamp.date() == DAY]
    same = {row.id for row in of_day} & {row.id for row in day}
    assert len(same) >= 0.9 * max(len(of_day), len(day))


def test_a_move_over_midnight_belongs_to_the_day_of_its_second_quote() -> None:
    prices = as_columns(series([100, 110], [86_400 - 100, 86_400]))
    assert detect_days(prices, [(date(2023, 6, 1), "BTC")], unknown) == []
    [row] = detect_days(prices, [(date(2023, 6, 2), "BTC")], unknown)
    assert row.timestamp_before.date() == date(2023, 6, 1)


def test_links_of_a_day_lead_to_alarms_of_that_day_and_each_row_has_a_sentence(whole: list[Anomaly]) -> None:
    by_id = {row.id: row for row in whole}
    linked = [row for row in whole if row.event_id not in (None, row.id)]
    assert linked and alarms(whole) == [row for row in whole if row not in linked]
    for row in linked:
        leader = by_id[row.event_id or ""]
        assert leader.timestamp.date() == row.timestamp.date()
        same_quote = (leader.symbol, leader.timestamp) == (row.symbol, row.timestamp)
        assert leader.kind in ("market_move", "bad_tick", "stale_feed") or same_quote
    for row in whole:
        assert row.kind not in ("market_move", "bad_tick") or row not in linked
        assert re.fullmatch(r"(Market|\d coins|(ADA|BTC|ETH|SOL)( and \w+)?) .+ UTC\b.*\.", row.headline)


def test_a_day_is_scored_with_the_calibration_known_at_its_start(quotes: Columns) -> None:
    days = []
    as_of = datetime(2023, 6, 9, tzinfo=timezone.utc)

    def known(day: date) -> Calibration:
        days.append(day)
        return Calibration(as_of=as_of, hours=(1.0,) * 24)

    rows = detect_days(quotes, [(DAY, "SOL"), (DAY, "BTC")], known)
    assert days == [DAY]
    assert {row.calibrated_at for row in rows} == {as_of}


def test_partitions_without_quotes_have_no_anomalies(quotes: Columns) -> None:
    assert detect_days(quotes, [(DAY, "DOT"), (date(2020, 1, 1), "BTC")], unknown) == []
    assert detect_days(as_columns(series([], [])), [(DAY, "BTC")], unknown) == []


def test_rows_that_are_not_in_time_order_are_refused() -> None:
    prices = as_columns(series([1, 2], [0, 300]))
    backwards = prices.take(np.array([1, 0]))
    with pytest.raises(ValueError, match="increase strictly"):
        detect_days(backwards, [(date(2023, 6, 1), "BTC")], unknown)
