"""The public functions on DataFrames: what they take, give back and refuse."""

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest

from market_pipeline import anomalies
from market_pipeline.anomalies import calibrate, detect_anomalies, score_prices
from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.columns import Columns

SYMBOLS = ("BTC", "ETH", "SOL", "ADA")
FUNCTIONS: list[Callable[[pd.DataFrame], object]] = [score_prices, detect_anomalies, calibrate]


@pytest.fixture
def prices() -> pd.DataFrame:
    """Four coins quoted by turns, seconds apart, with stale quotes, a gap and a jump of the last of them."""
    rng = np.random.default_rng(1)
    size = 120
    frames = []
    for number, symbol in enumerate(SYMBOLS):
        minutes = np.arange(size) * 5.0 + (np.arange(size) > 80) * 200
        fresh = rng.random(size) > 0.1
        fresh[[99, 100]] = True
        moves = rng.standard_normal(size) * 1e-3 * fresh
        moves[100] += 0.08 * (symbol == "ADA")
        times = pd.Timestamp("2023-06-01", tz="UTC") + pd.to_timedelta(minutes * 60 + number * 7, unit="s")
        logs = np.cumsum(moves)
        frames.append(pd.DataFrame({"symbol": symbol, "timestamp": times, "price": 100 * np.exp(logs)}))
    return pd.concat(frames).sort_values("timestamp", ignore_index=True)


def values(frame: pd.DataFrame) -> pd.DataFrame:
    """The scores without what was given."""
    return frame.drop(columns=["symbol", "timestamp", "price"])


def test_frames_and_columns_have_the_same_scores_one_row_for_each(prices: pd.DataFrame) -> None:
    scores = score_prices(prices)
    pd.testing.assert_frame_equal(scores[["symbol", "timestamp", "price"]], prices)
    flagged = scores[scores["jump_score"] > 6]
    assert flagged["symbol"].tolist() == ["ADA"] and flagged["scope"].tolist() == ["idiosyncratic"]
    assert {"", "first,warm_up", "stale", "gap"} <= set(scores["quality"])
    times = prices["timestamp"].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    symbols = prices["symbol"].to_numpy(dtype=object)
    columns = score_columns(Columns({"symbol": symbols, "timestamp": times, "price": prices["price"].to_numpy()}))
    for name in values(scores).columns:
        np.testing.assert_array_equal(scores[name].to_numpy(), columns[name], name)


def test_order_index_and_other_columns_do_not_matter(prices: pd.DataFrame) -> None:
    scores = score_prices(prices)
    pd.testing.assert_frame_equal(score_prices(prices.iloc[:300]), scores.iloc[:300])
    together = prices.sort_values(["symbol", "timestamp"])
    pd.testing.assert_frame_equal(score_prices(together).sort_index(), scores)
    index = pd.MultiIndex.from_arrays([["a"] * len(prices), range(len(prices), 0, -1)])
    other = prices.assign(price_before=1.0, jump_score="mine", volume=np.nan).set_index(index)
    found = score_prices(other[["volume", "price", "jump_score", "timestamp", "price_before", "symbol"]])
    assert found.index.equals(index)
    pd.testing.assert_frame_equal(found.reset_index(drop=True), scores)


@pytest.mark.parametrize(
    "given",
    [
        lambda times: times.dt.tz_localize(None),
        lambda times: times.dt.tz_convert("America/New_York"),
        lambda times: times.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda times: times.dt.tz_convert("Asia/Tokyo").astype(str),
        lambda times: times.astype("datetime64[ns, UTC]"),
        lambda times: times.astype(object),
    ],
    ids=["naive", "elsewhere", "iso", "offset", "nanoseconds", "objects"],
)
def test_times_may_be_given_in_many_ways(prices: pd.DataFrame, given: Callable[[Any], Any]) -> None:
    asked = prices.assign(timestamp=given(prices["timestamp"]))
    scores = score_prices(asked)
    pd.testing.assert_frame_equal(values(scores), values(score_prices(prices)))
    assert scores["timestamp"].tolist() == asked["timestamp"].tolist()


def test_symbols_may_be_categories_and_prices_whole_numbers(prices: pd.DataFrame) -> None:
    whole = prices.assign(price=(prices["price"] * 1_000).astype(int), symbol=prices["symbol"].astype("category"))
    as_floats = whole.assign(price=whole["price"].astype(float), symbol=prices["symbol"])
    pd.testing.assert_frame_equal(values(score_prices(whole)), values(score_prices(as_floats)))


def test_changing_the_scores_leaves_the_prices_alone(prices: pd.DataFrame) -> None:
    given = prices.copy()
    scores = score_prices(prices)
    for name, value in (("price", -1.0), ("symbol", "none"), ("timestamp", pd.Timestamp(0, tz="UTC"))):
        scores.loc[0, name] = value
    pd.testing.assert_frame_equal(prices, given)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_missing_or_no_price_is_named(prices: pd.DataFrame, function: Callable[[pd.DataFrame], object]) -> None:
    for missing in ("symbol", "timestamp", "price"):
        with pytest.raises(ValueError, match=f"no column {missing}; it needs symbol, timestamp, price"):
            function(prices.drop(columns=missing))
    with pytest.raises(ValueError, match="row 4 of prices has no symbol"):
        function(prices.assign(symbol=prices["symbol"].where(prices.index != 4)))
    with pytest.raises(ValueError, match=rf"{prices['symbol'][31]}: price -5.0 at .* is not a finite number"):
        function(prices.assign(price=prices["price"].where(prices.index != 31, -5.0)))
    late = prices.index[prices["symbol"] == "SOL"][[20, 21]]
    times = prices["timestamp"].where(prices.index != late[1], prices["timestamp"][late[0]])
    with pytest.raises(ValueError, match="SOL: times must increase strictly"):
        function(prices.assign(timestamp=times))


@pytest.mark.parametrize("rows", [1, 2, 50])
@pytest.mark.parametrize("function", FUNCTIONS[:2])
def test_a_missing_time_is_refused(prices: pd.DataFrame, function: Callable[[pd.DataFrame], object], rows: int) -> None:
    some = prices.head(rows)
    with pytest.raises(ValueError, match="time"):
        function(some.assign(timestamp=some["timestamp"].where(some.index != rows - 1)))


@pytest.mark.parametrize(
    "empty",
    [
        pd.DataFrame({"symbol": [], "timestamp": [], "price": []}),
        pd.DataFrame(columns=["symbol", "timestamp", "price"]),
    ],
    ids=["floats", "objects"],
)
def test_an_empty_frame_gives_empty_columns_of_the_same_types(prices: pd.DataFrame, empty: pd.DataFrame) -> None:
    none, some = score_prices(empty), score_prices(prices)
    assert len(none) == 0 and list(none.columns) == list(some.columns)
    pd.testing.assert_series_equal(values(none).dtypes, values(some).dtypes)
    assert list(detect_anomalies(empty).columns) == list(detect_anomalies(prices).columns)
    with pytest.raises(ValueError, match="no quotes to calibrate from"):
        calibrate(empty)
    assert calibrate(empty, datetime(2023, 6, 1, tzinfo=timezone.utc)).hours == (1.0,) * 24


def test_one_row_and_one_coin_can_be_scored(prices: pd.DataFrame) -> None:
    one = score_prices(prices.head(1))
    assert one["quality"].tolist() == ["first,warm_up"] and one["scope"].tolist() == ["unknown"]
    coin = score_prices(prices[prices["symbol"] == "ETH"])
    assert set(coin["scope"]) == {"unknown"} and len(coin) == 120
    pd.testing.assert_series_equal(coin["jump_score"], score_prices(prices).loc[coin.index, "jump_score"])


def test_anomalies_are_rows_of_their_table(prices: pd.DataFrame) -> None:
    found = detect_anomalies(prices)
    assert list(found.columns) == list(Anomaly.__dataclass_fields__)
    assert ("ADA", "jump") in set(zip(found["symbol"], found["kind"], strict=True))
    pd.testing.assert_frame_equal(detect_anomalies(prices.sort_values(["symbol", "timestamp"])), found)


def test_scores_rest_on_a_calibration_made_just_after_the_last_quote_by_default(prices: pd.DataFrame) -> None:
    last, half = prices["timestamp"].max().to_pydatetime(), prices["timestamp"][180].to_pydatetime()
    calibration = calibrate(prices)
    assert calibration.as_of == last + timedelta(microseconds=1)
    quotes = [sum(coin.quotes for coin in found.coins.values()) for found in (calibration, calibrate(prices, half))]
    assert quotes == [len(prices), 180]
    plain, calibrated = score_prices(prices), score_prices(prices, calibration)
    assert calibrated["expected_move"].iloc[0] < plain["expected_move"].iloc[0]
    assert not np.array_equal(calibrated["jump_score"], plain["jump_score"])
    with pytest.raises(ValueError, match="no time zone"):
        calibrate(prices, last.replace(tzinfo=None))
    with pytest.raises(ValueError, match="none of the 480 quotes lies in the 90 days before 2026-10-01"):
        calibrate(prices, datetime(2026, 10, 1, tzinfo=timezone.utc))


def test_the_package_imports_neither_pandas_nor_numba_and_offers_four_names() -> None:
    """Importing them takes longer than a tick may."""
    code = (
        "import sys, market_pipeline.anomalies as a; a.LEAD_DAYS; "
        "import market_pipeline.anomalies.scores.scoring, market_pipeline.anomalies.scores.learning; "
        "print(*sorted({'pandas', 'numba', 'scipy', 'dagster', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    days = {"LEAD_DAYS", "MORNING", "PAST_DAYS"}
    assert set(anomalies.__all__) == {*days, "calibrate", "detect_anomalies", "score_prices"}
    with pytest.raises(AttributeError, match="has no attribute score_all"):
        getattr(anomalies, "score" + "_all")
