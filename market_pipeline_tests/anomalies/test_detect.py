"""Detection by the day: a day's rows depend on nothing but its own eight days of quotes."""

import re
import subprocess
import sys
from dataclasses import fields
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import Anomaly, Kind, alarms
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.detect import detect_columns, detect_days
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.columns import Columns
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline_tests.anomalies.quotes import as_columns, series, world

DAYS = 10
DAY = date(2023, 6, 9)
SYMBOLS = ("ADA", "BTC", "ETH", "SOL")


def unknown(day):
    return None


@pytest.fixture
def quotes():
    """Ten days of four coins from 2023-06-01."""
    return world(7, hours=24 * DAYS)


def test_an_anomaly_has_the_columns_of_its_table_but_for_the_coin() -> None:
    columns = [column.name for column in price_anomalies.columns]
    columns.remove("coin_id")
    assert [field.name for field in fields(Anomaly)] == columns


def test_kinds_fit_their_column() -> None:
    assert max(len(kind.value) for kind in Kind) <= price_anomalies.columns["kind"].type.length


def test_rows_say_which_detectors_made_them(quotes) -> None:
    versions = {row.detector_version for row in detect_days(quotes, [(DAY, "SOL")], unknown)}
    assert versions == {DETECTOR_VERSION}


def test_only_wanted_partitions_are_flagged_by_symbol_time_and_kind(quotes) -> None:
    partitions = [(DAY, "SOL"), (DAY - timedelta(days=1), "ADA")]
    rows = detect_days(quotes, partitions, unknown)
    assert {(row.timestamp.date(), row.symbol) for row in rows} == set(partitions)
    keys = [(row.symbol, row.timestamp, row.kind) for row in rows]
    assert keys == sorted(keys)


def test_a_day_is_the_same_alone_in_a_range_and_again(quotes) -> None:
    """Also for one symbol: the others are read for what the market did, whether they are wanted or not."""
    days = [DAY - timedelta(days=number) for number in range(3)]
    together = detect_days(quotes, [(day, symbol) for day in days for symbol in SYMBOLS], unknown)
    alone = [
        row
        for symbol in SYMBOLS
        for day in sorted(days)
        for row in detect_days(quotes, [(day, symbol)], unknown)
    ]
    assert together == alone
    assert any(row.kind == "market_move" for row in together)


def test_quotes_outside_the_eight_days_do_not_matter(quotes) -> None:
    """A run of one day reads less than a run of a month; both must write the same rows."""
    first, end = np.datetime64(DAY - timedelta(days=7)), np.datetime64(DAY + timedelta(days=1))
    window = quotes.where((quotes["timestamp"] >= first) & (quotes["timestamp"] < end))
    assert len(window) < len(quotes)
    wanted = [(DAY, symbol) for symbol in SYMBOLS]
    assert detect_days(window, wanted, unknown) == detect_days(quotes, wanted, unknown) != []


def test_a_move_over_midnight_belongs_to_the_day_of_its_second_quote() -> None:
    prices = as_columns(series([100, 110], [86_400 - 100, 86_400]))
    assert detect_days(prices, [(date(2023, 6, 1), "BTC")], unknown) == []
    [row] = detect_days(prices, [(date(2023, 6, 2), "BTC")], unknown)
    assert row.timestamp_before.date() == date(2023, 6, 1)


def test_links_of_a_day_lead_to_rows_of_that_day(quotes) -> None:
    rows = detect_columns(score_columns(quotes))
    by_id = {row.id: row for row in rows}
    linked = [row for row in rows if row.event_id not in (None, row.id)]
    assert linked
    for row in linked:
        assert by_id[row.event_id].timestamp.date() == row.timestamp.date()
        leader = by_id[row.event_id]
        same_quote = (leader.symbol, leader.timestamp) == (row.symbol, row.timestamp)
        assert leader.kind in ("market_move", "bad_tick") or same_quote


def test_a_day_has_the_rows_that_the_whole_has(quotes) -> None:
    """But for what later quotes decide and for the seven days that the whole remembers longer."""
    whole = [row for row in detect_columns(score_columns(quotes)) if row.timestamp.date() == DAY]
    day = detect_days(quotes, [(DAY, symbol) for symbol in SYMBOLS], unknown)
    same = {row.id for row in whole} & {row.id for row in day}
    assert len(same) >= 0.9 * max(len(whole), len(day))


def test_a_day_is_scored_with_the_calibration_known_at_its_start(quotes) -> None:
    asked = []
    as_of = datetime(2023, 6, 9, tzinfo=timezone.utc)

    def known(day):
        asked.append(day)
        return Calibration(as_of=as_of, hours=(1.0,) * 24)

    rows = detect_days(quotes, [(DAY, "SOL"), (DAY, "BTC")], known)
    assert asked == [DAY]
    assert {row.calibrated_at for row in rows} == {as_of}


def test_partitions_without_quotes_have_no_anomalies(quotes) -> None:
    assert detect_days(quotes, [(DAY, "DOT"), (date(2020, 1, 1), "BTC")], unknown) == []
    assert detect_days(as_columns(series([], [])), [(DAY, "BTC")], unknown) == []


def test_rows_that_are_not_in_time_order_are_refused() -> None:
    prices = as_columns(series([1, 2], [0, 300]))
    backwards = Columns({name: values[::-1] for name, values in prices.arrays.items()})
    with pytest.raises(ValueError, match="increase strictly"):
        detect_days(backwards, [(date(2023, 6, 1), "BTC")], unknown)


def test_alarms_are_the_rows_that_stand_for_themselves(quotes) -> None:
    rows = detect_columns(score_columns(quotes))
    told = alarms(rows)
    assert {row.id for row in rows if row.kind in ("market_move", "bad_tick")} <= {row.id for row in told}
    assert 0 < len(told) < len(rows)
    assert not any(row.event_id for row in told if row.kind != "market_move")


def test_explanations_are_sentences(quotes) -> None:
    for row in detect_columns(score_columns(quotes)):
        assert re.fullmatch(r"(The market|ADA|BTC|ETH|SOL) .+ UTC\).*\.", row.explanation)


def test_detecting_imports_nothing_heavy() -> None:
    """A scheduled run pays for every import on every tick."""
    code = (
        "import sys, market_pipeline.anomalies.detect, market_pipeline.charts.overview_chart;"
        "heavy = ('pandas', 'scipy', 'numba', 'matplotlib', 'sqlalchemy', 'dagster');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
