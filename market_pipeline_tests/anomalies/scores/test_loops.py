"""The loops: interpreted and compiled they must give the same numbers, or a tick and a backfill disagree."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market_pipeline.anomalies.scores import loops
from market_pipeline.anomalies.scores.horizons import large_moves
from market_pipeline.anomalies.scores.residuals import _regress, residuals
from market_pipeline.anomalies.scores.returns import returns_of
from market_pipeline.anomalies.scores.volatility_filter import filter_volatility

SIZE = 600
# Far beyond any market: prices from the smallest to the largest number there is.
EXTREME = 1_400.0
# The shortest time between two quotes, in minutes.
MICROSECOND = 1e-6 / 60


@pytest.fixture
def both_ways(monkeypatch):
    """Computes something twice: with every loop interpreted, then with every loop compiled."""

    def compute(what):
        results = []
        for way in (loops._interpreted, loops._compiled):
            with monkeypatch.context() as patch:
                patch.setattr(loops, "_interpreted", way)
                patch.setattr(loops, "_compiled", way)
                results.append(what())
        return results

    return compute


def same_bits(first, second):
    return all(
        np.array_equal(getattr(first, name).view(np.int64), getattr(second, name).view(np.int64))
        for name in vars(first)
    )


def rough_rows(seed):
    """Sizes of returns, scales and steps with everything that comes and everything that should not."""
    rng = np.random.default_rng(seed)
    minutes = np.where(rng.random(SIZE) < 0.5, 5.0, rng.uniform(1e-8, 60, SIZE))
    minutes[rng.random(SIZE) < 0.03] *= 20_000
    returns = rng.standard_normal(SIZE) * 1e-3
    returns[rng.random(SIZE) < 0.03] *= 1e4
    returns[rng.integers(0, SIZE, 4)] = [EXTREME, -EXTREME, 1e-300, 5e-324]
    sizes = np.log(np.abs(returns))
    sizes[rng.random(SIZE) < 0.1] = np.nan
    return sizes, 0.5 * np.log(np.maximum(minutes, 1.0)), minutes, returns


@pytest.mark.parametrize("seed", range(5))
def test_the_filter_gives_the_same_bits_interpreted_and_compiled(both_ways, seed):
    sizes, scales, minutes, _ = rough_rows(seed)
    interpreted, compiled = both_ways(lambda: filter_volatility(sizes, scales, minutes, -7.0, 1.0))
    assert same_bits(interpreted, compiled)
    assert np.isfinite(compiled.mean).all() and (compiled.variance > 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_regression_gives_the_same_bits_interpreted_and_compiled(both_ways, seed):
    _, _, minutes, returns = rough_rows(seed)
    rng = np.random.default_rng(seed)
    market_z = returns * 500 + rng.standard_normal(SIZE)
    market_z[rng.random(SIZE) < 0.2] = np.nan
    own_z = np.where(rng.random(SIZE) < 0.1, 0.0, returns * 1_000)
    interpreted, compiled = both_ways(lambda: residuals(own_z, market_z, minutes))
    assert same_bits(interpreted, compiled)
    assert np.isfinite(compiled.z[np.isfinite(market_z)]).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_horizons_give_the_same_bits_interpreted_and_compiled(both_ways, series, seed):
    _, _, minutes, returns = rough_rows(seed)
    rng = np.random.default_rng(seed)
    prices = np.exp(np.clip(np.cumsum(returns), -700, 700))
    prices = prices[np.sort(rng.integers(0, SIZE, SIZE))]
    given_returns = returns_of(series(prices, np.cumsum(np.maximum(minutes, 1e-6) * 60)))
    slow, path = np.exp(rng.standard_normal(SIZE)), np.cumsum(rng.standard_normal(SIZE))
    interpreted, compiled = both_ways(lambda: large_moves(given_returns, slow, path))
    assert same_bits(interpreted, compiled)
    assert set(compiled.horizon) == {0.0, 15.0, 60.0, 240.0, 1_440.0}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.floats(-30, 10), st.floats(MICROSECOND, 1e6)), min_size=1, max_size=30))
def test_any_returns_after_any_time_give_the_same_bits(both_ways, rows):
    sizes, minutes = np.array(rows).T
    scales = np.zeros(len(rows))
    interpreted, compiled = both_ways(lambda: filter_volatility(sizes, scales, minutes, -7.0, 1.0))
    assert same_bits(interpreted, compiled)
    assert (compiled.variance > 0).all() and np.isfinite(compiled.mean).all()


def test_few_rows_run_interpreted_and_many_compiled(monkeypatch):
    """A tick must not wait for Numba to load; once it is loaded, or there is much to do, it is faster."""
    ways = []
    monkeypatch.setattr(loops, "_interpreted", lambda *_: ways.append("interpreted"))
    monkeypatch.setattr(loops, "_compiled", lambda *_: ways.append("compiled"))
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    for size in (10, loops.COMPILED_FROM - 1, loops.COMPILED_FROM):
        loops.run(len, [np.zeros(size)], (), 0)
    monkeypatch.setitem(sys.modules, "numba", loops)
    loops.run(len, [np.zeros(10)], (), 0)
    assert ways == ["interpreted", "interpreted", "compiled", "compiled"]


def test_many_short_series_are_compiled_as_one_long_one_is():
    """Scoring 250 coins one by one interpreted takes five times as long as loading Numba."""
    code = (
        "import sys; from market_pipeline.anomalies.scores.loops import COMPILED_FROM, load_compiler;"
        "load_compiler(COMPILED_FROM - 1); before = 'numba' in sys.modules;"
        "load_compiler(COMPILED_FROM); print(before, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_machine_code_that_cannot_be_kept_is_made_all_the_same():
    """A package folder that cannot be written to and a user without home; here a loop without a file."""
    names: dict[str, Any] = {}
    exec("def loop(rows, numbers, tables, out):\n    out[0][0] = rows[0][0] + numbers[0]", names)
    arrays = (np.zeros(1),)
    loops._machine_code(names["loop"])((np.ones(1),), (2.0,), (), arrays)
    assert arrays[0].tolist() == [3.0]


def test_no_rows_give_no_results_both_ways():
    for way in (loops._interpreted, loops._compiled):
        outputs = way(_regress, [np.empty(0)] * 3, (0.0,) * 7, 3, ())
        assert [len(output) for output in outputs] == [0, 0, 0]
