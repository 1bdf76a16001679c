"""A small run of `python -m benchmarks.anomalies` that keeps the detectors near the limit.

The worlds and seeds are fixed, so the measured figures are too; the bars leave room for the smaller
sample: two standard errors below the targets of the full run.
"""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from benchmarks.anomalies import adherence, limits, ours, peers, rivals
from benchmarks.anomalies.injection import hindsight_sigma, with_jumps
from benchmarks.anomalies.prices import Bars, load
from benchmarks.anomalies.rivals import Detector
from benchmarks.anomalies.scoring import Recall, recall, tail
from benchmarks.anomalies.volatility import Floats
from benchmarks.anomalies.worlds import HOURLY, IRREGULAR, JUMP_SIZES, REGULAR, Series, World, make_series

SERIES = {IRREGULAR.name: 6, REGULAR.name: 2, HOURLY.name: 6}


@cache
def sample(world: World) -> list[Series]:
    return [make_series(world, number) for number in range(SERIES[world.name])]


@cache
def measured(world: World, detector: Detector, rate: int) -> Recall:
    return recall([tail(*both(one, detector), one.jump_at, one.jump_size) for one in sample(world)], rate)


def both(series: Series, detector: Detector) -> tuple[Floats, Floats]:
    """The scores without and with jumps."""
    return detector(series.minutes, series.control), detector(series.minutes, series.prices)


@pytest.mark.parametrize(
    ("world", "rate", "bars"),
    [
        (IRREGULAR, 1, {5.0: 0.33, 6.0: 0.45, 8.0: 0.84}),
        (IRREGULAR, 10, {5.0: 0.63, 6.0: 0.79, 8.0: 0.97}),
        (REGULAR, 1, {5.0: 0.41, 6.0: 0.68, 8.0: 0.95}),
        (HOURLY, 10, {5.0: 0.39, 6.0: 0.54, 8.0: 0.78}),
    ],
    ids=["irregular, 1 in 10,000", "irregular, 10", "1 minute, 1", "hourly, 10"],
)
def test_jumps_are_found_about_as_often_as_the_target_says(world: World, rate: int, bars: dict[float, float]) -> None:
    found = measured(world, ours.jump, rate)
    for size, bar in bars.items():
        part = found.jumps / len(JUMP_SIZES)
        slack = 2 * math.sqrt(bar * (1 - bar) / part) + 0.01
        assert found.recalls[JUMP_SIZES.index(size)] >= bar - slack, f"{size:g} sigma: {found}"


@pytest.mark.parametrize("rate", [1, 10])
def test_jumps_in_irregular_quotes_are_found_more_often_than_by_any_common_rule(rate: int) -> None:
    """Even by the rule that counts elapsed time and drops repeated quotes, which is not a common one."""
    rules = (rivals.ewma_clock_fresh, rivals.ewma_clock, rivals.ewma, rivals.rolling_z, rivals.two_point)
    best = max(measured(IRREGULAR, rule, rate).f1 for rule in rules)
    assert measured(IRREGULAR, ours.jump, rate).f1 > best


@pytest.mark.slow
def test_the_jump_score_comes_near_the_bayes_filter_that_knows_the_world() -> None:
    """No causal detector of one series can do better but by chance; 90% of its F1 is required."""
    series = make_series(replace(IRREGULAR, length=8_000), 0)
    best = (limits.bayes(series, series.control), limits.bayes(series, series.prices))
    limit = recall([tail(*best, series.jump_at, series.jump_size)], 10)
    found = recall([tail(*both(series, ours.jump), series.jump_at, series.jump_size)], 10)
    assert found.f1 >= 0.9 * limit.f1


def test_the_same_seed_gives_the_same_series_and_another_seed_another() -> None:
    one, again, other = (make_series(IRREGULAR, 0, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.prices, again.prices)
    assert not np.array_equal(one.prices, other.prices)


def test_the_oracle_finds_jumps_as_often_as_the_normal_distribution_says() -> None:
    """True sigma, so the only noise is the return itself; this checks worlds, limits and recall at once."""
    tails = [
        tail(limits.oracle(one, one.control), limits.oracle(one, one.prices), one.jump_at, one.jump_size)
        for one in sample(REGULAR)
    ]
    found = recall(tails, 10)
    for size, value in zip(JUMP_SIZES, found.recalls, strict=True):
        expected = 0.5 * math.erfc((3.2905 - size) / math.sqrt(2))
        error = math.sqrt(expected * (1 - expected) * len(JUMP_SIZES) / found.jumps)
        assert value == pytest.approx(expected, abs=4 * error + 0.01)


def test_hindsight_volatility_takes_no_part_of_a_jump_into_its_scale() -> None:
    series = make_series(IRREGULAR, 0)
    at = series.jump_at[:1]
    jumped = with_jumps(series.control, at, np.array([1.0]))
    before, after = (hindsight_sigma(series.minutes, prices)[at] for prices in (series.control, jumped))
    assert after == pytest.approx(before, rel=1e-6)


@pytest.fixture(scope="module")
def real() -> list[Bars]:
    bars = load()
    if not bars:
        pytest.skip("the real series are not present")
    return bars


@pytest.mark.slow
def test_a_jump_of_one_coin_is_found_by_what_the_market_leaves_and_called_its_own(real: list[Bars]) -> None:
    found = peers.measure([bars for bars in real if bars.file.startswith("2023")])
    for size, bar in ((4.0, 0.68), (5.0, 0.78), (6.0, 0.88)):
        residual, _ = found.recalls["idiosyncratic", "residual_score", 10][peers.SIZES.index(size)]
        assert residual >= bar
    for right, number in found.scopes.values():
        assert right >= 0.97 * number > 0


@pytest.mark.slow
def test_calibrated_probabilities_keep_their_promise_on_later_prices(real: list[Bars]) -> None:
    earlier = [bars for bars in real if bars.file < "2024" and bars.file > "2022"]
    for row in adherence.measure(earlier)[: len(adherence.NOMINAL)]:
        assert 0.8 - row.error <= row.ratio <= 1.25 + row.error, row
