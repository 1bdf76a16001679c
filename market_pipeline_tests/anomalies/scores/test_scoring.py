"""Scores of whole tables: causal, in order, and what each column is."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_pipeline.anomalies.calibration import Calibration, tail_of
from market_pipeline.anomalies.parameters import MINUTES_PER_YEAR, PARAMETERS
from market_pipeline.anomalies.scores.learning import calibrate_columns
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.anomalies.scores.tails import PEAKS, SCORES, share_of_quotes
from market_pipeline.anomalies.series import CADENCES, Floats, cadence_codes
from market_pipeline.core.columns import Columns
from market_pipeline_tests.anomalies.quotes import as_columns, series, to_datetime, walk

START = np.datetime64("2023-06-01", "us")
SECOND = np.timedelta64(1_000_000, "us")
LARGE = ("BTC", "ETH", "SOL", "ADA")
# More coins than make up the market; the largest may come last.
MANY = ("C0", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "ETH", "BTC")
ROW_NUMBERS = ("before", "large_move_before")


def live(seed: int, symbols: Sequence[str] = LARGE, size: int = 60, grid: bool = False) -> Columns:
    """Quotes of several coins in time order, with outages, jumps, and repeated ones; or some on one grid."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, str, float]] = []
    for symbol in symbols:
        steps: Floats = rng.choice(np.array([20.0, 60.0, 300.0, 3_600.0]), size, p=[0.1, 0.3, 0.5, 0.1])
        steps += rng.uniform(0, 9, size)
        steps[rng.random(size) < 0.02] += 30_000
        if grid:
            steps = np.full(size, 300.0)
        # Some coins come late.
        seconds = np.cumsum(steps) + rng.choice([0, 0, 0, 6_900])
        moves = rng.standard_normal(size) * 1e-3 * np.sqrt(steps / 60)
        moves[rng.random(size) < 0.05] *= 10
        moves[rng.random(size) < (0.01 if grid else 0.15)] = 0.0
        prices = np.round(100 * np.exp(np.cumsum(moves)), 2)
        rows += zip(np.round(seconds, 6), [symbol] * size, prices, strict=True)
    times, names, values = zip(*sorted(rows), strict=True)
    return Columns(
        {
            "symbol": np.array(names, dtype=object),
            "timestamp": START + (np.array(times) * 1e6).astype("timedelta64[us]"),
            "price": np.array(values),
        }
    )


def assert_same(first: Columns, second: Columns) -> None:
    assert list(first.arrays) == list(second.arrays)
    for name, values in first.arrays.items():
        if values.dtype.kind == "f":
            assert np.array_equal(values, second[name], equal_nan=True), name
        else:
            assert (values == second[name]).all(), name


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    share=st.floats(0, 1),
    symbols=st.sampled_from([LARGE, MANY, LARGE[:1]]),
    grid=st.booleans(),
    calibrated=st.booleans(),
)
def test_scores_never_change_when_later_quotes_come(
    seed: int, share: float, symbols: tuple[str, ...], grid: bool, calibrated: bool
) -> None:
    """At a random cut in time the scores of the quotes until then are the same to the last bit."""
    prices = live(seed, symbols, size=30 if symbols is MANY else 60, grid=grid)
    as_of = to_datetime(START + 86_400 * SECOND)
    calibration = calibrate_columns(live(seed + 1), as_of) if calibrated else None
    until = prices["timestamp"] <= prices["timestamp"][int(share * (len(prices) - 1))]
    whole = score_columns(prices, calibration)
    assert_same(score_columns(prices.where(until), calibration), whole.where(until))


def test_a_large_coin_that_comes_later_changes_nothing_before() -> None:
    """Nine coins are one more than make up the market; the largest of all is quoted an hour after the others."""
    small = live(1, [f"C{number}" for number in range(9)], size=200)
    late = live(2, ["BTC"], size=100)
    first = small["timestamp"][500]
    late = Columns({**late.arrays, "timestamp": late["timestamp"] - late["timestamp"][0] + first})
    both = Columns({name: np.concatenate([small[name], late[name]]) for name in small.arrays})
    before = small["timestamp"] < first
    alone, together = score_columns(small), score_columns(both)
    assert_same(alone.where(before), together.where(np.append(before, np.zeros(len(late), dtype=bool))))
    after = together["market_z"][: len(small)][~before]
    assert not np.array_equal(after, alone["market_z"][~before], equal_nan=True)


@pytest.mark.parametrize("symbols", [LARGE, MANY])
def test_rows_may_lie_in_any_order_between_symbols(symbols: tuple[str, ...]) -> None:
    mixed = live(3, symbols)
    order = np.argsort(mixed["symbol"].astype(str), kind="stable")
    scores, sorted_scores = score_columns(mixed), score_columns(mixed.take(order))
    place = np.append(np.argsort(order), -1)
    moved = {name: values[order] for name, values in scores.arrays.items()}
    for name in ROW_NUMBERS:
        moved[name] = place[moved[name]]
    assert_same(Columns(moved), sorted_scores)


def test_row_numbers_lead_to_where_the_moves_start() -> None:
    scores = score_columns(live(4))
    symbols, times, prices = scores["symbol"], scores["timestamp"], scores["price"]
    for name in ROW_NUMBERS:
        rows = np.flatnonzero(scores[name] >= 0)
        starts = scores[name][rows]
        assert (symbols[starts] == symbols[rows]).all() and (times[starts] < times[rows]).all()
    rows = np.flatnonzero(scores["before"] >= 0)
    starts = scores["before"][rows]
    assert scores["log_return"][rows] == pytest.approx(np.log(prices[rows] / prices[starts]), abs=1e-12)
    seconds = (times[rows] - times[starts]) / SECOND
    assert scores["elapsed_seconds"][rows] == pytest.approx(np.maximum(seconds, 60))
    assert (scores["before"] < 0).sum() == len(LARGE)


@pytest.mark.parametrize("factor", [1e-6, 1_000.0])
def test_prices_in_another_unit_have_the_same_scores(factor: float) -> None:
    prices = live(5)
    scores = score_columns(prices)
    scaled = score_columns(Columns({**prices.arrays, "price": prices["price"] * factor}))
    for name in ("jump_score", "large_move_score", "market_score", "residual_score", "expected_move", "z"):
        assert scaled[name] == pytest.approx(scores[name], rel=1e-6, abs=1e-9), name
    assert (scaled["scope"] == scores["scope"]).all()


def test_the_expected_move_is_one_deviation_of_exactly_this_interval() -> None:
    scores = score_columns(live(6))
    later = scores["before"] >= 0
    minutes = scores["elapsed_seconds"][later] / 60
    sigma = scores["volatility"] / math.sqrt(MINUTES_PER_YEAR) * scores["hour_factor"]
    assert np.log1p(scores["expected_move"][later]) == pytest.approx(sigma[later] * np.sqrt(minutes))
    assert scores["z"][later] == pytest.approx(
        scores["log_return"][later] / np.log1p(scores["expected_move"][later]), abs=1e-9
    )


def test_expected_moves_grow_with_the_square_root_of_time() -> None:
    """The same past, and the next quote after one, four or nine minutes.

    A little more than the root, because the longer the wait the less is known of the volatility.
    """
    past = walk(np.arange(2_000) * 60)
    expected = []
    for minutes in (1, 4, 9):
        seconds = np.append(np.arange(2_000), 1_999 + minutes) * 60
        scores = score_columns(as_columns(series(np.append(past.prices, past.prices[-1] + 0.01), seconds)))
        expected.append(scores["expected_move"][-1])
    assert expected[1] / expected[0] == pytest.approx(2, rel=0.07)
    assert expected[2] / expected[0] == pytest.approx(3, rel=0.15)
    assert expected[0] == pytest.approx(0.6 / math.sqrt(MINUTES_PER_YEAR), rel=0.2)


def test_a_repeated_quote_is_no_return() -> None:
    scores = score_columns(as_columns(series([100.0, 101.0, 101.0, 101.0, 102.0], np.arange(5) * 300)))
    assert scores["before"].tolist() == [-1, 0, 1, 1, 1]
    assert scores["stale_minutes"].tolist() == [0, 0, 5, 10, 0]
    assert scores["elapsed_seconds"].tolist() == [0, 300, 300, 600, 900]
    assert (scores["jump_score"][2:4] == 0).all() and (scores["z"][2:4] == 0).all()
    assert scores["jump_p"][2] == 1.0
    assert scores["quotes_used"].tolist() == [0, 1, 2, 2, 2]


def test_the_first_quote_of_a_coin_is_no_move() -> None:
    scores = score_columns(as_columns(series([100.0], [0])))
    assert len(scores) == 1
    assert scores["before"].tolist() == scores["large_move_before"].tolist() == [-1]
    for name in ("jump_score", "large_move_score", "market_score", "residual_score", "z", "log_return"):
        assert scores[name].tolist() == [0.0], name
    assert scores["quality"].tolist() == ["first,warm_up"]
    assert scores["scope"].tolist() == ["unknown"]
    assert scores["volatility"][0] == pytest.approx(0.6 * math.exp(1 + 0.35**2 * 2), rel=1e-6)


def seam(seed: int, minutes: Floats) -> Columns:
    """One random walk of 60% a year, quoted at these minutes."""
    rng = np.random.default_rng(seed)
    sigma = 0.6 / math.sqrt(MINUTES_PER_YEAR)
    logs = np.cumsum(np.append(0, rng.standard_normal(len(minutes) - 1) * sigma * np.sqrt(np.diff(minutes))))
    times = START + (np.array(minutes) * 60).astype("int64") * SECOND
    symbols = np.full(len(minutes), "BTC", dtype=object)
    return Columns({"symbol": symbols, "timestamp": times, "price": 100 * np.exp(logs)})


HOURLY, LIVE = np.arange(7 * 24) * 60.0, np.arange(288) * 5.0
SEAMS = {
    "history and then live quotes": np.concatenate([HOURLY, HOURLY[-1] + 5 + LIVE]),
    "live quotes and then history": np.concatenate([LIVE, LIVE[-1] + 60 + HOURLY]),
}


@pytest.mark.parametrize("name", SEAMS)
def test_where_hourly_and_live_quotes_meet_there_is_no_jump(name: str) -> None:
    """Over many walks the quotes around the seam are as rare as they say, and none alarms.

    With 1,500 quotes about 15 are expected at p < 0.01.
    """
    minutes = SEAMS[name]
    at = int(np.flatnonzero(np.diff(np.diff(minutes)))[0]) + 1
    p, raw = [], []
    for seed in range(100):
        scores = score_columns(seam(seed, minutes))
        around = slice(at - 3, at + 12)
        p += scores["jump_p"][around].tolist()
        raw += (10 ** -scores["jump_score"][around]).tolist()
    assert min(p) >= 1e-3
    assert np.mean(np.array(raw) < 0.01) < 0.02
    assert np.mean(np.array(raw) < 0.1) == pytest.approx(0.1, abs=0.04)
    # The volatility does not change at the seam either.
    assert np.median(raw) == pytest.approx(0.5, abs=0.05)


def factors(seed: int, size: int = 400, symbols: Sequence[str] = LARGE) -> tuple[Floats, dict[str, Floats]]:
    """Coins on one grid with a common factor: standardised moves of the market and of each coin alone."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(size), {symbol: rng.standard_normal(size) for symbol in symbols}


def table(market: Floats, own: dict[str, Floats], sigma: float = 1e-3) -> Columns:
    pieces = []
    for symbol, noise in own.items():
        times = START + np.arange(len(noise)) * 300 * SECOND
        logs = np.cumsum(sigma * (0.8 * market + 0.6 * noise))
        pieces.append((np.full(len(noise), symbol, dtype=object), times, 100 * np.exp(logs)))
    symbols, times, prices = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return Columns({"symbol": symbols, "timestamp": times, "price": prices})


def test_a_move_of_all_coins_is_of_the_market_and_a_move_of_one_its_own() -> None:
    market, own = factors(1)
    market[300], own["SOL"][350] = 15.0, 20.0
    for noise in own.values():
        noise[300] = 0.0
    market[350] = 0.0
    scores = score_columns(table(market, own))
    for number, symbol in enumerate(own):
        crash, alone = number * 400 + 300, number * 400 + 350
        assert scores["scope"][crash] == "market"
        assert scores["market_z"][crash] > 6 and scores["market_share"][crash] > 0.6
        assert scores["peers_moved"][crash] == 3
        assert scores["jump_score"][crash] > 6
        assert scores["residual_score"][crash] < scores["jump_score"][crash] - 1
        if symbol == "SOL":
            assert scores["scope"][alone] == "idiosyncratic"
            assert scores["residual_score"][alone] > 6 and abs(scores["market_z"][alone]) < 3
            assert scores["market_share"][alone] < 0.2
        else:
            assert abs(scores["market_z"][alone]) < 3 and scores["residual_score"][alone] < 4


def test_fewer_than_three_coins_have_no_market() -> None:
    market, own = factors(2, symbols=LARGE[:2])
    scores = score_columns(table(market, own))
    assert set(scores["scope"]) == {"unknown"}
    assert np.isnan(scores["market_z"]).all() and np.isnan(scores["beta"]).all()
    assert (scores["residual_score"] == 0).all() and (scores["market_score"] == 0).all()


def test_a_move_shared_in_part_is_mixed() -> None:
    market, own = factors(3)
    for symbol, noise in own.items():
        market[300], noise[300] = 0.0, 12.0 if symbol == "BTC" else 3.5
    scores = score_columns(table(market, own))
    share = scores["market_z"][300] / scores["z"][300]
    assert PARAMETERS.idiosyncratic_share < share < PARAMETERS.market_share
    assert scores["scope"][300] == "mixed" and scores["market_share"][300] == share


def test_the_markets_own_large_moves_are_seen_by_every_coin() -> None:
    """Twenty quotes downhill, each hardly worth a mention."""
    market, own = factors(4)
    market[300:320] = -2.5
    scores = score_columns(table(market, own))
    for number in range(len(own)):
        row = number * 400 + 319
        assert scores["market_score"][row] > 3
        assert scores["market_p"][row] < 0.03
        usual = np.median(scores["market_score"][number * 400 + 100 : row - 20])
        assert scores["market_score"][row] > 2.5 * usual


def test_large_moves_are_looked_for_from_the_given_time_on_and_are_the_same_there() -> None:
    prices = live(7)
    since = prices["timestamp"][len(prices) // 2]
    whole, late = score_columns(prices), score_columns(prices, large_since=since)
    wanted = prices["timestamp"] >= since
    assert_same(whole.where(wanted), late.where(wanted))
    # Of each coin one quote before that time: the others may see it.
    coins = len(set(prices["symbol"]))
    assert np.count_nonzero(late["large_move_score"][~wanted]) <= coins
    assert np.count_nonzero(late["large_move_p"][~wanted] < 1) <= coins


def test_a_calibration_gives_hours_level_percentiles_and_tails() -> None:
    hours = tuple(np.where(np.arange(24) < 12, 0.5, math.sqrt(1.75)).tolist())
    prices = live(8)
    learned = calibrate_columns(prices, to_datetime(prices["timestamp"][-1]))
    scores = score_columns(prices, Calibration(learned.as_of, hours, learned.coins))
    assert scores["hour_factor"].min() == pytest.approx(0.5)
    assert scores["hour_factor"].max() == pytest.approx(math.sqrt(1.75))
    first = np.flatnonzero(scores["before"] < 0)
    for row in first:
        level = learned.coins[scores["symbol"][row]].level
        variance = PARAMETERS.filter.calibrated_level_deviation**2 + 2 * 0.35**2
        annual = math.exp(level + variance) * math.sqrt(MINUTES_PER_YEAR)
        assert scores["volatility"][row] == pytest.approx(annual)
    percentiles = scores["volatility_percentile"]
    assert ((percentiles >= 0) & (percentiles <= 100)).all() and np.ptp(percentiles) > 50
    assert set(scores["calibration"]) == {"prior"}
    assert np.isnan(score_columns(prices)["volatility_percentile"]).all()


def test_probabilities_are_those_of_each_cadence() -> None:
    scores = score_columns(live(9))
    codes = cadence_codes(scores["elapsed_seconds"] / 60)
    for code in set(codes.tolist()):
        rows, cadence = codes == code, CADENCES[code]
        for name in SCORES:
            tail = tail_of(None, "BTC", name, cadence)
            expected = tail.probability(scores[f"{name}_score"][rows])
            if name in PEAKS:
                assert np.array_equal(scores[f"{name}_days"][rows], 1 / expected)
                expected = share_of_quotes(expected, cadence)
            assert np.array_equal(scores[f"{name}_p"][rows], expected)



def test_no_rows_have_the_same_columns_of_the_same_types() -> None:
    some = score_columns(live(10))
    none = score_columns(live(10).where(np.zeros(len(some), dtype=bool)))
    assert len(none) == 0
    assert {name: values.dtype for name, values in none.arrays.items()} == {
        name: values.dtype for name, values in some.arrays.items()
    }
