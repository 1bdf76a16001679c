"""The public functions on DataFrames: what they take, give back and refuse."""

import subprocess
import sys
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from market_pipeline.anomalies import calibrate, detect_anomalies, score_prices
from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.columns import Columns

PROMISED = [
    *("symbol", "timestamp", "price", "jump_score", "large_move_score", "market_score", "residual_score"),
    *("scope", "expected_move", "quality"),
]
SYMBOLS = ("BTC", "ETH", "SOL", "ADA")


@pytest.fixture
def prices():
    """Four coins quoted by turns, seconds apart, with stale quotes, a gap and a jump."""
    rng = np.random.default_rng(1)
    size = 120
    frames = []
    for number, symbol in enumerate(SYMBOLS):
        minutes = np.arange(size) * 5.0 + (np.arange(size) > 80) * 200
        moves = rng.standard_normal(size) * 1e-3 * (rng.random(size) > 0.1)
        moves[100] += 0.08 * (symbol == "ETH")
        times = pd.Timestamp("2023-06-01", tz="UTC") + pd.to_timedelta(minutes * 60 + number * 7, unit="s")
        logs = np.cumsum(moves)
        frames.append(pd.DataFrame({"symbol": symbol, "timestamp": times, "price": 100 * np.exp(logs)}))
    return pd.concat(frames).sort_values("timestamp", ignore_index=True)


def values(frame):
    """The scores without what was given."""
    return frame.drop(columns=["symbol", "timestamp", "price"])


def test_there_is_one_row_for_each_with_the_promised_columns(prices) -> None:
    scores = score_prices(prices)
    assert set(PROMISED) <= set(scores.columns)
    pd.testing.assert_frame_equal(scores[["symbol", "timestamp", "price"]], prices)
    flagged = scores[scores["jump_score"] > 6]
    assert flagged["symbol"].tolist() == ["ETH"] and flagged["scope"].tolist() == ["idiosyncratic"]
    assert {"", "first,warm_up", "stale", "gap"} <= set(scores["quality"])


def test_frames_and_columns_have_the_same_scores(prices) -> None:
    scores = score_prices(prices)
    columns = score_columns(
        Columns(
            {
                "symbol": prices["symbol"].to_numpy(dtype=object),
                "timestamp": prices["timestamp"].dt.tz_localize(None).to_numpy().astype("datetime64[us]"),
                "price": prices["price"].to_numpy(),
            }
        )
    )
    for name in values(scores).columns:
        np.testing.assert_array_equal(scores[name].to_numpy(), columns[name], name)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.77])
def test_rows_appended_change_no_scores(prices, share) -> None:
    kept = int(share * len(prices))
    pd.testing.assert_frame_equal(score_prices(prices.iloc[:kept]), score_prices(prices).iloc[:kept])


def test_interleaved_rows_have_the_scores_of_sorted_ones(prices) -> None:
    together = prices.sort_values(["symbol", "timestamp"])
    pd.testing.assert_frame_equal(score_prices(together).sort_index(), score_prices(prices))


def test_the_index_and_other_columns_do_not_matter(prices) -> None:
    index = pd.MultiIndex.from_arrays([["a"] * len(prices), range(len(prices), 0, -1)])
    other = prices.assign(price_before=1.0, jump_score="mine", volume=np.nan).set_index(index)
    scores = score_prices(other[["volume", "price", "jump_score", "timestamp", "price_before", "symbol"]])
    assert scores.index.equals(index)
    assert list(scores.columns) == list(score_prices(prices).columns)
    pd.testing.assert_frame_equal(scores.reset_index(drop=True), score_prices(prices))


@pytest.mark.parametrize(
    "given",
    [
        lambda times: times.dt.tz_localize(None),
        lambda times: times.dt.tz_convert("America/New_York"),
        lambda times: times.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda times: times.dt.strftime("%Y-%m-%d %H:%M:%S"),
        lambda times: times.dt.tz_convert("Asia/Tokyo").astype(str),
        lambda times: times.astype("datetime64[ns, UTC]"),
        lambda times: times.astype(object),
    ],
    ids=["naive", "elsewhere", "iso", "text", "offset", "nanoseconds", "objects"],
)
def test_times_may_be_given_in_many_ways(prices, given) -> None:
    asked = prices.assign(timestamp=given(prices["timestamp"]))
    scores = score_prices(asked)
    pd.testing.assert_frame_equal(values(scores), values(score_prices(prices)))
    assert scores["timestamp"].tolist() == asked["timestamp"].tolist()


@pytest.mark.parametrize("dtype", ["object", "category", "string"])
def test_symbols_may_be_texts_or_categories(prices, dtype) -> None:
    scores = score_prices(prices.astype({"symbol": dtype}))
    pd.testing.assert_frame_equal(values(scores), values(score_prices(prices)))


def test_prices_may_be_whole_numbers(prices) -> None:
    whole = prices.assign(price=(prices["price"] * 1_000).astype(int))
    as_floats = whole.assign(price=whole["price"].astype(float))
    pd.testing.assert_frame_equal(values(score_prices(whole)), values(score_prices(as_floats)))


def test_changing_the_scores_leaves_the_prices_alone(prices) -> None:
    given = prices.copy()
    scores = score_prices(prices)
    scores.loc[0, ["price", "symbol", "jump_score"]] = [-1.0, "none", 99.0]
    scores["timestamp"].array[1] = pd.Timestamp(0, tz="UTC")
    pd.testing.assert_frame_equal(prices, given)


@pytest.mark.parametrize("missing", ["symbol", "timestamp", "price"])
@pytest.mark.parametrize("function", [score_prices, detect_anomalies, calibrate])
def test_a_missing_column_is_named(prices, function, missing) -> None:
    with pytest.raises(ValueError, match=f"no column {missing}; it needs symbol, timestamp, price"):
        function(prices.drop(columns=missing))


@pytest.mark.parametrize("function", [score_prices, detect_anomalies, calibrate])
def test_a_row_without_symbol_is_named(prices, function) -> None:
    with pytest.raises(ValueError, match="row 4 of prices has no symbol"):
        function(prices.assign(symbol=prices["symbol"].where(prices.index != 4)))


@pytest.mark.parametrize("price", [np.nan, 0.0, -5.0, np.inf])
@pytest.mark.parametrize("function", [score_prices, detect_anomalies, calibrate])
def test_a_price_that_is_none_is_named(prices, function, price) -> None:
    prices.loc[31, "price"] = price
    at = prices["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S")[31]
    named = f"{prices['symbol'][31]}: price {price} at {at}.* is not a finite number"
    with pytest.raises(ValueError, match=named):
        function(prices)


@pytest.mark.parametrize("function", [score_prices, detect_anomalies, calibrate])
@pytest.mark.parametrize("step", [0, -1])
def test_times_that_do_not_increase_are_named(prices, function, step) -> None:
    late = prices.index[prices["symbol"] == "SOL"][[20, 21]]
    prices.loc[late[1], "timestamp"] = prices.loc[late[0], "timestamp"] + pd.Timedelta(step, "s")
    at = prices["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    with pytest.raises(ValueError, match=f"SOL: times must increase strictly.*{at[late[0]]}.*{at[late[1]]}"):
        function(prices)


@pytest.mark.parametrize("rows", [1, 2, 50])
@pytest.mark.parametrize("function", [score_prices, detect_anomalies])
def test_a_missing_time_is_refused(prices, function, rows) -> None:
    some = prices.head(rows).copy()
    some.loc[rows - 1, "timestamp"] = pd.NaT
    with pytest.raises(ValueError, match="time"):
        function(some)


def test_a_time_that_is_none_is_refused(prices) -> None:
    with pytest.raises(ValueError):
        score_prices(prices.assign(timestamp="soon"))


@pytest.mark.parametrize(
    "empty",
    [
        pd.DataFrame({"symbol": [], "timestamp": [], "price": []}),
        pd.DataFrame(columns=["symbol", "timestamp", "price"]),
    ],
    ids=["floats", "objects"],
)
def test_an_empty_frame_gives_empty_columns_of_the_same_types(prices, empty) -> None:
    none, some = score_prices(empty), score_prices(prices)
    assert len(none) == 0 and list(none.columns) == list(some.columns)
    pd.testing.assert_series_equal(values(none).dtypes, values(some).dtypes)
    assert list(detect_anomalies(empty).columns) == list(detect_anomalies(prices).columns)
    with pytest.raises(ValueError, match="no quotes to calibrate from"):
        calibrate(empty)
    assert calibrate(empty, datetime(2023, 6, 1, tzinfo=timezone.utc)).hours == (1.0,) * 24


def test_one_row_and_one_coin_can_be_scored(prices) -> None:
    one = score_prices(prices.head(1))
    assert one["quality"].tolist() == ["first,warm_up"] and one["scope"].tolist() == ["unknown"]
    coin = score_prices(prices[prices["symbol"] == "ETH"])
    assert set(coin["scope"]) == {"unknown"} and len(coin) == 120
    pd.testing.assert_series_equal(coin["jump_score"], score_prices(prices).loc[coin.index, "jump_score"])


def test_anomalies_are_rows_of_their_table(prices) -> None:
    found = detect_anomalies(prices)
    assert list(found.columns) == list(Anomaly.__dataclass_fields__)
    assert ("ETH", "jump") in set(zip(found["symbol"], found["kind"], strict=True))
    mixed = detect_anomalies(prices.sample(frac=1, random_state=1).sort_values("timestamp"))
    pd.testing.assert_frame_equal(mixed, found)


def test_a_calibration_is_of_just_after_the_last_quote_unless_told_otherwise(prices) -> None:
    last = prices["timestamp"].max().to_pydatetime()
    found = calibrate(prices)
    assert found.as_of == last + timedelta(microseconds=1)
    assert sum(coin.quotes for coin in found.coins.values()) == len(prices)
    half = prices["timestamp"][180].to_pydatetime()
    assert sum(coin.quotes for coin in calibrate(prices, half).coins.values()) == 180
    with pytest.raises(ValueError, match="no time zone"):
        calibrate(prices, last.replace(tzinfo=None))


def test_a_time_without_quotes_before_it_is_refused(prices) -> None:
    """A calibration of nothing would score by the prior and say that the past is too short."""
    with pytest.raises(ValueError, match="none of the 480 quotes lies in the 90 days before 2026-10-01"):
        calibrate(prices, datetime(2026, 10, 1, tzinfo=timezone.utc))


def test_scores_rest_on_the_calibration_given(prices) -> None:
    calibration = calibrate(prices)
    plain, calibrated = score_prices(prices), score_prices(prices, calibration)
    assert calibrated["expected_move"].iloc[0] < plain["expected_move"].iloc[0]
    assert not np.array_equal(calibrated["jump_score"], plain["jump_score"])


def test_asking_for_the_package_imports_neither_pandas_nor_numba() -> None:
    """Importing them takes longer than a tick may."""
    code = (
        "import sys, market_pipeline.anomalies as a; a.LEAD_DAYS; "
        "import market_pipeline.anomalies.scores.scoring, market_pipeline.anomalies.scores.learning; "
        "print(*sorted({'pandas', 'numba', 'scipy', 'dagster'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_names_that_are_not_offered_are_not_there() -> None:
    import market_pipeline.anomalies as anomalies

    assert set(anomalies.__all__) == {"LEAD_DAYS", "calibrate", "detect_anomalies", "score_prices"}
    with pytest.raises(AttributeError, match="has no attribute score_all"):
        anomalies.score_all  # noqa: B018
