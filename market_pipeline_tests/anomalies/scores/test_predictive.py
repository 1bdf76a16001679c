"""The tables of the filter against fine numerical integration over log volatility."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.predictive import (
    GRID,
    MOST_STEPS,
    ROUNDED,
    filter_tables,
    gauss_hermite,
    log10_tail,
    log_erfc,
    rounded_tables,
)
from market_pipeline.anomalies.series import Floats

# Returns from a hundredth of a standard deviation to twenty; the filter starts at a standard deviation of
# log volatility of 1.1 without a calibration and soon lives between 0.2 and 0.6.
sizes = st.floats(-4.5, 3.0)
settled = st.floats(0.2, 0.6)
starting = st.floats(0.6, 1.2)


def over_log_volatility(deviation: float) -> tuple[Floats, Floats]:
    """Deviations from the mean of log volatility and the weight of each, by the trapezoidal rule."""
    grid = np.linspace(-9, 9, 4_001, dtype=np.float64) * deviation
    density = np.exp(-0.5 * (grid / deviation) ** 2)
    return grid, density / density.sum()


def integrated_score(u: float, deviation: float) -> float:
    grid, weights = over_log_volatility(deviation)
    tails = np.array([math.erfc(math.exp(u - d) / math.sqrt(2)) for d in grid])
    return -math.log10((weights * tails).sum())


def integrated_posterior(u: float, deviation: float) -> tuple[float, float]:
    """Mean and standard deviation of log volatility after the return, less the mean before."""
    grid, weights = over_log_volatility(deviation)
    q, scale = PARAMETERS.filter.outliers, PARAMETERS.filter.outlier_scale
    z = np.exp(np.minimum(u - grid, 20.0))
    likelihood = np.exp(-grid) * ((1 - q) * np.exp(-z * z / 2) + q / scale * np.exp(-((z / scale) ** 2) / 2))
    posterior = weights * likelihood / (weights * likelihood).sum()
    mean = (posterior * grid).sum()
    return mean, math.sqrt((posterior * (grid - mean) ** 2).sum())


def looked_up(table: Floats, u: float, deviation: float) -> float:
    """Bilinear, as the filter does."""
    x, w = (u - GRID.lowest) / GRID.step, deviation / GRID.deviation_step
    column, row = int(x), int(w)
    cells = table.reshape(GRID.rows, GRID.columns)[row : row + 2, column : column + 2]
    return float(np.array([1 - (w - row), w - row]) @ cells @ np.array([1 - (x - column), x - column]))


@settings(max_examples=60, deadline=None)
@given(sizes, settled | starting)
def test_a_looked_up_score_is_that_of_integration_within_a_hundredth(u: float, deviation: float) -> None:
    found = log10_tail(np.array([u]), np.array([deviation**2]))[0]
    assert found == pytest.approx(integrated_score(u, deviation), rel=0.01)


@settings(max_examples=80, deadline=None)
@given(sizes, settled | starting)
def test_looked_up_posterior_moments_are_those_of_integration(u: float, deviation: float) -> None:
    """Closely where the filter lives, and still well where little is known."""
    shifts, shares, _ = filter_tables()
    mean, spread = integrated_posterior(u, deviation)
    error = 0.012 if deviation <= 0.6 else 0.1
    assert looked_up(shifts, u, deviation) == pytest.approx(mean, abs=error)
    assert deviation * math.sqrt(looked_up(shares, u, deviation)) == pytest.approx(spread, abs=error)


def test_some_variance_is_left_after_any_return() -> None:
    """Without any the next quote, a moment later, would divide by it."""
    shares = filter_tables()[1].reshape(GRID.rows, GRID.columns)
    assert shares.min() >= 0.07
    u, deviation = GRID.lowest + GRID.step * (GRID.columns - 1), GRID.deviation_step * (GRID.rows - 1)
    assert (integrated_posterior(u, deviation)[1] / deviation) ** 2 > 0.07


def test_the_filter_and_the_residuals_look_up_the_same_tails() -> None:
    """Two ways of the same look-up: the loop's own and the one for whole arrays."""
    u, deviation = np.array([-3.3, 0.02, 1.17, 2.9]), 0.43
    tails = filter_tables()[2]
    expected = [math.exp(looked_up(tails, each, deviation)) for each in u]
    assert log10_tail(u, np.full(4, deviation**2)) == pytest.approx(expected, rel=1e-12)


def test_scores_beyond_the_grid_are_those_of_its_edge() -> None:
    """An unchanged residual has size -inf, an impossible one may have any; neither may fail or be NaN."""
    u = np.array([-np.inf, -1e9, GRID.lowest, 0.0, 50.0, np.inf])
    scores = log10_tail(u, np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1]))
    assert np.isfinite(scores).all() and (scores >= 0).all()
    assert scores[0] == scores[1] == scores[2] < 0.01 and scores[4] == scores[5] > 100
    assert np.isfinite(log10_tail(np.array([1.0]), np.array([1e6]))).all()


def test_scores_grow_with_the_return_and_shrink_with_what_is_not_known() -> None:
    u = np.linspace(-5, 6, 300, dtype=np.float64)
    for variance in (0.01, 0.1, 1.0):
        assert (np.diff(log10_tail(u, np.full(300, variance))) > 0).all()
    deviation = np.linspace(0, 1.5, 100, dtype=np.float64)
    assert (np.diff(log10_tail(np.full(100, math.log(5.0)), deviation**2)) < 0).all()


def test_a_known_volatility_gives_the_plain_normal_tail() -> None:
    z = np.array([0.5, 1.0, 2.0, 3.0, 5.0, 8.0])
    expected = [-math.log10(math.erfc(each / math.sqrt(2))) for each in z]
    assert log10_tail(np.log(z), np.zeros(6)) == pytest.approx(expected, rel=0.01)


def test_quadrature_nodes_are_those_of_numpy() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    found_nodes, found_weights = gauss_hermite()
    assert found_nodes == pytest.approx(nodes, abs=1e-12)
    assert found_weights == pytest.approx(weights / weights.sum(), rel=1e-9)


def test_the_logarithm_of_the_error_function_is_right_far_into_the_tail() -> None:
    z = np.concatenate([np.linspace(0, 5, 101), np.linspace(6, 26, 41)])
    exact = np.array([math.log(math.erfc(each)) for each in z])
    assert log_erfc(z) == pytest.approx(exact, abs=2e-7)


def of_steps(steps: int, a: float) -> float:
    """The probability of at least so many steps, with the first price anywhere within its step."""
    starts = (np.arange(2_000) + 0.5) / 2_000
    return float(np.mean([math.erfc((steps - start) / (a * math.sqrt(2))) for start in starts])) if steps else 1.0


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
@pytest.mark.parametrize("log_a", [-1.5, -0.25, 1.0])
def test_tables_of_rounded_returns_are_those_of_integration(steps: int, log_a: float) -> None:
    deviation = 0.4
    grid, weights = over_log_volatility(deviation)
    grid, weights = grid[::40], weights[::40] / weights[::40].sum()
    q, scale = PARAMETERS.filter.outliers, PARAMETERS.filter.outlier_scale

    def exactly(a: float) -> float:
        return of_steps(steps, a) - of_steps(steps + 1, a)

    likelihood = np.array([(1 - q) * exactly(a) + q * exactly(scale * a) for a in np.exp(log_a + grid)])
    posterior = weights * likelihood / (weights * likelihood).sum()
    mean = (posterior * grid).sum()
    row, column = round(deviation / ROUNDED.deviation_step), round((log_a - ROUNDED.lowest) / ROUNDED.step)
    sizes = GRID.rows * GRID.columns, ROUNDED.rows * ROUNDED.columns
    shift, share, tail = (
        table[sizes[0] + steps * sizes[1] + row * ROUNDED.columns + column] for table in rounded_tables()
    )
    assert shift == pytest.approx(mean, abs=0.01)
    assert deviation * math.sqrt(share) == pytest.approx(math.sqrt((posterior * (grid - mean) ** 2).sum()), abs=0.01)
    p = (weights * [of_steps(steps, a) for a in np.exp(log_a + grid)]).sum()
    assert math.exp(tail) == pytest.approx(-math.log10(p), rel=0.02, abs=1e-9)


def test_all_tables_of_rounded_returns_are_finite() -> None:
    """However improbable so many steps are."""
    assert all(np.isfinite(table).all() for table in rounded_tables())
    assert len(rounded_tables()[0]) == GRID.rows * GRID.columns + (MOST_STEPS + 1) * ROUNDED.rows * ROUNDED.columns
