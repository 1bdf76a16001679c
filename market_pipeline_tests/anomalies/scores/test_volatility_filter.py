"""The volatility filter: clock time, learning, robustness, scale, and whether its probabilities are true."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.volatility_filter import Filtered, filter_volatility
from market_pipeline.anomalies.series import Floats
from market_pipeline_tests.anomalies.quotes import Numbers

LEVEL = -7.0
STEP = 5.0


def filtered(
    returns: Numbers,
    minutes: Numbers,
    level: float = LEVEL,
    deviation: float = 1.0,
    elapsed: Numbers | None = None,
    coarse_step: float | Floats = 0.0,
) -> Filtered:
    """Filters returns over steps in minutes; a NaN among the returns is an unchanged quote."""
    minutes = np.array(minutes, dtype=np.float64)
    elapsed = minutes if elapsed is None else np.array(elapsed, dtype=np.float64)
    with np.errstate(divide="ignore"):
        sizes = np.log(np.abs(np.array(returns, dtype=np.float64)))
    steps = np.zeros(len(sizes)) + coarse_step
    return filter_volatility(sizes, 0.5 * np.log(elapsed), steps, minutes, level, deviation)


def normal(size: int, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).standard_normal(size) * math.exp(LEVEL) * math.sqrt(STEP)


def test_time_over_unchanged_quotes_is_one_longer_step() -> None:
    start, move = normal(50), 0.004
    split = filtered(
        [*start, np.nan, np.nan, np.nan, move, 0.001],
        [STEP] * 50 + [3, 1, 60, 11, STEP],
        elapsed=[STEP] * 50 + [3, 4, 64, 75, STEP],
    )
    whole = filtered([*start, move, 0.001], [STEP] * 50 + [75, STEP])
    for name in ("mean", "variance", "score"):
        assert getattr(split, name)[-2:] == pytest.approx(getattr(whole, name)[-2:], rel=1e-12)


def test_an_unchanged_quote_teaches_nothing_and_scores_nothing() -> None:
    found = filtered([*normal(50), np.nan, np.nan], [STEP] * 52, elapsed=[STEP] * 51 + [2 * STEP])
    assert found.score[50:].tolist() == [0.0, 0.0]
    assert found.slow[50] == found.slow[51]
    assert found.variance[51] > found.variance[50]


def test_less_is_known_the_longer_nothing_was_heard() -> None:
    gaps = (1, 5, 60, 1_440, 20_000)
    variances = [filtered([*normal(200), 0.001], [STEP] * 200 + [gap]).variance[-1] for gap in gaps]
    assert (np.diff(variances) > 0).all()
    known, wander = PARAMETERS.filter.middle, PARAMETERS.filter.slow
    stationary = known.deviation**2 + PARAMETERS.filter.fast.deviation**2
    grown = 2 * math.log(2) * wander.deviation**2 / wander.half_life * 20_000
    assert variances[-1] > stationary + grown


def test_after_a_gap_the_same_standardised_move_is_less_surprising() -> None:
    surprise = []
    for gap in (STEP, 120, 1_440):
        move = 6 * math.exp(LEVEL) * math.sqrt(gap)
        surprise.append(filtered([*normal(300), move], [STEP] * 300 + [gap]).score[-1])
    assert surprise[0] > surprise[1] > surprise[2]


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_changed_volatility_is_learned(factor: float) -> None:
    returns = np.concatenate([normal(1_500, 1), factor * normal(1_500, 2)])
    found = filtered(returns, [STEP] * 3_000)
    volatility = np.exp(found.mean - LEVEL)
    assert np.median(volatility[500:1_500]) == pytest.approx(1, rel=0.1)
    assert np.median(volatility[1_700:]) == pytest.approx(factor, rel=0.1)


def test_a_wrong_level_is_forgotten() -> None:
    returns = normal(3_000)
    low, high = filtered(returns, [STEP] * 3_000, LEVEL - 2), filtered(returns, [STEP] * 3_000, LEVEL + 2)
    assert high.mean[1] - low.mean[1] > 1
    assert abs(high.mean - low.mean)[-1] < 0.05
    assert np.exp(low.mean[-1_000:] - LEVEL).mean() == pytest.approx(1, rel=0.1)


def test_one_jump_hardly_passes_for_a_change_of_volatility() -> None:
    """The second of two jumps must not hide behind the first."""
    quiet = normal(800)
    jumped = quiet.copy()
    jumped[500] = 12 * math.exp(LEVEL) * math.sqrt(STEP)
    before, after = filtered(quiet, [STEP] * 800), filtered(jumped, [STEP] * 800)
    assert after.score[500] > 6
    rise = np.exp(after.mean - before.mean)
    assert rise[500] == 1.0
    # A standard deviation learned from one return alone would be twelve times as large.
    assert 1.0 < rise[501] < 2.2
    assert rise[512] < 1.5 and rise[620] < 1.12
    assert 1.0 < after.slow[-1] / before.slow[-1] < 1.02


def test_many_large_returns_are_a_change_of_volatility() -> None:
    returns = np.concatenate([normal(500), 5 * normal(50, 2)])
    found = filtered(returns, [STEP] * 550)
    assert np.median(np.exp(found.mean[520:] - LEVEL)) > 2.5


def test_returns_twice_as_large_around_a_level_twice_as_high_are_the_same() -> None:
    returns, minutes = normal(400), np.random.default_rng(2).uniform(1, 9, 400)
    returns[[50, 51, 300]] = [0.05, np.nan, -0.02]
    one, two = filtered(returns, minutes), filtered(2 * returns, minutes, LEVEL + math.log(2))
    assert two.score == pytest.approx(one.score, rel=1e-9, abs=1e-12)
    assert two.variance == pytest.approx(one.variance, rel=1e-9)
    assert two.mean == pytest.approx(one.mean + math.log(2), rel=1e-9)
    assert two.slow == pytest.approx(2 * one.slow, rel=1e-9)


def test_four_times_the_interval_is_twice_the_return() -> None:
    """Per square root of a minute: the same moves over scaled intervals say the same of the first quote."""
    short = filtered([0.002], [0.0], elapsed=[STEP])
    long = filtered([0.004], [0.0], elapsed=[4 * STEP])
    assert long.score == pytest.approx(short.score, rel=1e-12)


def test_the_first_quote_is_expected_at_the_level_given() -> None:
    found = filtered([np.nan, 0.001], [0.0, STEP], deviation=0.5, elapsed=[1.0, STEP])
    middle, fast = PARAMETERS.filter.middle.deviation, PARAMETERS.filter.fast.deviation
    assert found.mean[0] == LEVEL
    assert found.variance[0] == pytest.approx(0.25 + middle**2 + fast**2)
    assert found.score[0] == 0


def test_the_slow_scale_is_the_root_mean_square_of_a_long_past() -> None:
    found = filtered(normal(5_000), [STEP] * 5_000)
    assert found.slow[-1] == pytest.approx(math.exp(LEVEL), rel=0.04)
    # Fourteen days later half of it is from after the change.
    half_life = int(PARAMETERS.slow_half_life / STEP)
    returns = np.concatenate([normal(4 * half_life), 2 * normal(half_life, 2)])
    squares = filtered(returns, [STEP] * len(returns)).slow[-1] ** 2 / math.exp(2 * LEVEL)
    assert squares == pytest.approx(2.5, rel=0.1)


def own_model(size: int, seed: int) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Log volatility and returns of the filter's own model, quoted every five minutes."""
    rng, settings = np.random.default_rng(seed), PARAMETERS.filter
    wander = math.sqrt(2 * math.log(2) / settings.slow.half_life * STEP) * settings.slow.deviation
    log_volatility = LEVEL + np.cumsum(rng.standard_normal(size)) * wander
    for part in (settings.middle, settings.fast):
        decay = 0.5 ** (STEP / part.half_life)
        noise = rng.standard_normal(size) * part.deviation * math.sqrt(1 - decay * decay)
        value = rng.standard_normal() * part.deviation
        for index in range(size):
            value = decay * value + noise[index]
            log_volatility[index] += value
    outlier = rng.random(size) < settings.outliers
    z = rng.standard_normal(size) * np.where(outlier, settings.outlier_scale, 1.0)
    return log_volatility, outlier, z * np.exp(log_volatility) * math.sqrt(STEP)


@pytest.mark.parametrize("seed", [0, 1])
def test_in_its_own_world_its_probabilities_are_true(seed: int) -> None:
    """Of ordinary returns one in a hundred has p < 0.01, and log volatility lies as far off as its variance."""
    log_volatility, outlier, returns = own_model(40_000, seed)
    found = filtered(returns, [STEP] * len(returns))
    p = 10 ** -found.score[~outlier]
    for nominal, error in ((0.5, 0.02), (0.1, 0.05), (0.01, 0.15), (0.001, 0.45)):
        assert (p < nominal).mean() == pytest.approx(nominal, rel=error)
    off = (log_volatility - found.mean) ** 2 / found.variance
    assert off.mean() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("coarseness", [0.7, 2.0, 5.0])
def test_rounding_is_not_taken_for_diffusion(coarseness: float) -> None:
    """A price step of several standard deviations: volatility is learned from how often the price moves."""
    log_volatility, _, returns = own_model(40_000, 3)
    coarse_step = coarseness * math.exp(LEVEL) * math.sqrt(STEP)
    path = np.round(np.concatenate([[0.0], np.cumsum(returns)]) / coarse_step)
    found = filtered(coarse_step * np.diff(path), [STEP] * len(returns), coarse_step=coarse_step)
    off = (log_volatility - found.mean)[1_000:]
    assert abs(off.mean()) < 0.1
    assert (off**2 / found.variance[1_000:]).mean() == pytest.approx(1, abs=0.25)
    known = np.sqrt((np.diff(path) ** 2).mean()) * coarse_step
    assert np.sqrt((found.deviation**2).mean()) == pytest.approx(known, rel=0.1)
    assert found.slow[-1] == pytest.approx(filtered(returns, [STEP] * len(returns)).slow[-1], rel=0.15)
    assert (10**-found.score < 0.001).mean() < 0.003


def test_a_price_that_stands_still_has_a_least_volatility() -> None:
    """However long it stands still, the first step is no large move, and two steps are a surprise."""
    still = np.zeros(20_000)
    scores = {steps: filtered([*still, steps * 1e-3], [STEP] * 20_001, coarse_step=1e-3) for steps in (1, 2)}
    assert 1e-3 / (scores[1].slow[-1] * math.sqrt(15)) < 2.5
    assert scores[1].score[-1] < 2.5 < 5 < scores[2].score[-1]


def test_the_slow_scale_starts_again_where_a_peg_is_lost() -> None:
    """It would take weeks to follow, and each quote of them would be a large move."""
    step = 0.2 * math.exp(LEVEL) * math.sqrt(STEP)
    returns = np.concatenate([np.zeros(2_000), step * np.round(normal(90) / step)])
    coarse = np.where(np.arange(2_090) < 2_020, step, 0.0)
    slow = filtered(returns, [STEP] * 2_090, coarse_step=coarse).slow
    assert slow[2_019] / math.exp(LEVEL) < 0.1
    assert 0.3 < slow[-1] / math.exp(LEVEL) < 1


def test_unchanged_quotes_do_not_lengthen_the_memory_of_the_slow_volatility() -> None:
    """Half of the quotes stale is half of the moves, not half of the time."""
    rng = np.random.default_rng(3)
    moves = 1e-3 * np.where(np.arange(4_000) < 2_000, 1.0, 3.0) * rng.standard_normal(4_000)
    log_size, ten = np.log(np.abs(moves)), np.full(4_000, 10.0)
    plain = filter_volatility(log_size, 0.5 * np.log(ten), np.zeros(4_000), ten, -7.0, 1.0)
    # The same moves with an unchanged quote in the middle of each.
    doubled = np.full(8_000, np.nan)
    doubled[1::2] = log_size
    five = np.full(8_000, 5.0)
    stale = filter_volatility(doubled, np.full(8_000, 0.5 * np.log(10.0)), np.zeros(8_000), five, -7.0, 1.0)
    assert stale.slow[1::2] == pytest.approx(plain.slow, rel=1e-9)
