"""Detection by the day: a day's rows depend on nothing but its own quotes, eight days before and the next morning."""

import re
from collections.abc import Callable
from dataclasses import fields
from datetime import date, timedelta
from functools import cache

import numpy as np
import pytest

from market_pipeline.anomalies import MORNING, PAST_DAYS
from market_pipeline.anomalies.anomaly import Anomaly, Kind, alarms
from market_pipeline.anomalies.calibration import ALL_COINS, Calibration, LargestDays
from market_pipeline.anomalies.detect import detect_columns, detect_days
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.anomalies.scores.learning import calibrate_columns
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.anomalies.words.formatting import format_percent, format_signed
from market_pipeline.core.clock import DAY as DAY_LONG
from market_pipeline.core.clock import start_of_day
from market_pipeline.core.columns import Columns
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline_tests.anomalies.quotes import as_columns, series, walk, world

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


def test_quotes_outside_the_days_that_it_depends_on_do_not_matter(quotes: Columns, day: list[Anomaly]) -> None:
    """A run of one day reads less than a run of a month; both must write the same rows."""
    start = start_of_day(DAY)
    window = quotes.between(start - PAST_DAYS * DAY_LONG, start + DAY_LONG + MORNING)
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


def test_every_link_leads_to_an_alarm_and_each_row_has_a_sentence(whole: list[Anomaly]) -> None:
    by_id = {row.id: row for row in whole}
    linked = [row for row in whole if row.event_id not in (None, row.id)]
    assert linked and alarms(whole) == [row for row in whole if row not in linked]
    for row in linked:
        leader = by_id[row.event_id or ""]
        assert leader in alarms(whole)
        assert leader.kind in ("market_move", "stale_feed") or leader.symbol == row.symbol
    for row in whole:
        assert row.kind not in ("market_move", "bad_tick") or row not in linked
        assert re.fullmatch(r"(Market|\d coins|(ADA|BTC|ETH|SOL)( and \w+)?) .+ UTC\b.*\.", row.headline)


def test_the_words_of_a_row_agree_with_its_columns(whole: list[Anomaly]) -> None:
    """Direction, size, the market's move and whose move it was."""
    told = [row for row in whole if row.kind not in ("bad_tick", "stale_feed")]
    assert {row.scope for row in told} >= {"market", "idiosyncratic"}
    for row in told:
        words = f"{row.headline} {row.explanation}"
        size = row.market_move if row.kind == "market_move" else row.move
        assert f" {'rose' if row.direction == 'up' else 'fell'} {format_percent(size or 0.0)} " in row.headline
        assert row.scope != "market" or not re.search("its own:|alone|not explain", words), words
        assert row.scope == "market" or not re.search("with the market|The market moved with it", words), words
        assert row.scope == "idiosyncratic" or " alone " not in row.headline
        for market in re.findall(r"market \(?([+\N{MINUS SIGN}][^)]+)\)", row.headline):
            assert row.market_move is not None and market == format_signed(row.market_move)


def test_a_day_is_scored_with_the_calibration_known_at_its_start(quotes: Columns) -> None:
    """And compared with what yesterday's calibration flagged, where something goes on over midnight."""
    asked = []

    def known(day: date) -> Calibration:
        asked.append(day)
        return Calibration(as_of=start_of_day(day), hours=(1.0,) * 24)

    rows = detect_days(quotes, [(DAY, "SOL"), (DAY, "BTC")], known)
    assert set(asked) <= {DAY, DAY - DAY_LONG} and len(asked) == len(set(asked))
    assert {row.calibrated_at for row in rows} == {start_of_day(DAY)}


def test_partitions_without_quotes_have_no_anomalies(quotes: Columns) -> None:
    assert detect_days(quotes, [(DAY, "DOT"), (date(2020, 1, 1), "BTC")], unknown) == []
    assert detect_days(as_columns(series([], [])), [(DAY, "BTC")], unknown) == []


def test_rows_that_are_not_in_time_order_are_refused() -> None:
    prices = as_columns(series([1, 2], [0, 300]))
    backwards = prices.take(np.array([1, 0]))
    with pytest.raises(ValueError, match="increase strictly"):
        detect_days(backwards, [(date(2023, 6, 1), "BTC")], unknown)


EVE, MORROW = date(2023, 6, 8), date(2023, 6, 9)


def over_midnight(falls: dict[int, float], quotes: int = 120, coins: tuple[str, ...] = SYMBOLS) -> Columns:
    """Five-minute quotes around the midnight after EVE, in which all coins fall at quotes counted from it."""
    first = -9 * 288
    size = quotes - first
    seconds = (np.arange(size) + first) * 300 + 8 * 86_400
    many = []
    for seed, symbol in enumerate(coins):
        prices = walk(seconds, seed + 1, symbol).prices.copy()
        for row, fall in falls.items():
            prices[row - first :] *= 1 - fall
        many.append(series(prices, seconds, symbol))
    return as_columns(*many)


def learned(prices: Columns) -> Callable[[date], Calibration]:
    """Calibrations of each day from the quotes before it."""

    @cache
    def of(day: date) -> Calibration:
        return calibrate_columns(prices, start_of_day(day))

    return of


FALLS = [
    {-3: 0.05, 2: 0.03, 5: 0.02},
    {-30: 0.05, -2: 0.06, 9: 0.07},
    {-3: 0.05, 60: 0.05},
    {2: 0.05},
    {-100: 0.05, -3: 0.04, 4: -0.05, 8: 0.04},
]


@pytest.mark.parametrize("falls", FALLS)
def test_over_midnight_days_agree_whichever_are_computed(falls: dict[int, float]) -> None:
    """Every link leads to a row of either day, and nothing is told twice."""
    prices = over_midnight(falls)
    known = learned(prices)
    both = [(day, symbol) for day in (EVE, MORROW) for symbol in SYMBOLS]
    together = detect_days(prices, both, known)
    alone = [row for each in both for row in detect_days(prices, [each], known)]
    assert together == sorted(alone, key=lambda row: (row.symbol, row.timestamp, row.kind)) != []
    ids = {row.id for row in together}
    assert {row.event_id for row in together} - {None} <= ids


def test_a_day_does_not_take_an_earlier_day_for_the_day_before() -> None:
    prices = over_midnight({-3: 0.05, 2: 0.03, 5: 0.02})
    known = learned(prices)
    morrow = [(MORROW, symbol) for symbol in SYMBOLS]
    other = (EVE - timedelta(days=1), "BTC")
    both = detect_days(prices, [other, *morrow], known)
    assert [row for row in both if row.timestamp.date() == MORROW] == detect_days(prices, morrow, known) != []


def test_a_move_is_not_called_rarer_than_that_of_the_day_before() -> None:
    """Which no calibration remembers: that of a day is made when the day before has begun."""
    prices = over_midnight({-144: 0.25, 60: 0.12})
    memory = {ALL_COINS: LargestDays(date(2022, 1, 1), ((date(2022, 5, 9), 9.0),))}
    rows = detect_days(
        prices, [(MORROW, symbol) for symbol in SYMBOLS],
        lambda day: Calibration(start_of_day(day), (1.0,) * 24, largest=memory),
    )
    [event] = [row for row in rows if row.kind == "market_move"]
    assert event.headline.endswith("rarer than anything since 8 Jun 2023.")


@pytest.mark.parametrize("coins", [SYMBOLS, ("SOL",)])
def test_what_goes_on_over_midnight_is_one_alarm_of_the_day_that_it_began_on(coins: tuple[str, ...]) -> None:
    prices = over_midnight({-3: 0.05, 2: 0.02, 5: 0.015}, coins=coins)
    known = learned(prices)
    eve, morrow = ([(day, symbol) for symbol in coins] for day in (EVE, MORROW))
    [event] = alarms(detect_days(prices, eve, known))
    assert event.timestamp.date() == EVE < event.episode_peak.date()
    assert abs(event.move if len(coins) == 1 else event.market_move or 0) == pytest.approx(0.083, abs=0.015)
    later = detect_days(prices, morrow, known)
    assert later and {row.event_id for row in later} == {event.id}


def test_the_morning_changes_a_day_only_in_what_is_open() -> None:
    """The tick before midnight told the same rows; the next morning confirms them."""
    prices = over_midnight({-3: 0.05})
    known = learned(prices)
    wanted = [(EVE, symbol) for symbol in SYMBOLS]
    before, after = (
        detect_days(prices.between(start_of_day(date(2023, 5, 1)), end), wanted, known)
        for end in (start_of_day(MORROW), start_of_day(MORROW) + MORNING)
    )
    assert [(row.id, row.event_id) for row in before] == [(row.id, row.event_id) for row in after]
    assert {row.confirmation for row in alarms(before)} == {None} != {row.confirmation for row in alarms(after)}
