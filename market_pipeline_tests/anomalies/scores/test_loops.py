"""The loops: interpreted and compiled they must give the same numbers, or a tick and a backfill disagree."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market_pipeline.anomalies.scores import loops
from market_pipeline.anomalies.scores.horizons import MarketMoves, large_moves, scaled_moves
from market_pipeline.anomalies.scores.market import PeerMoves
from market_pipeline.anomalies.scores.residuals import residuals
from market_pipeline.anomalies.scores.returns import returns_of
from market_pipeline.anomalies.scores.volatility_filter import filter_volatility
from market_pipeline.anomalies.series import Floats
from market_pipeline_tests.anomalies.quotes import series

T = TypeVar("T")
BothWays = Callable[[Callable[[], T]], tuple[T, T]]
SIZE = 600
# Far beyond any market: prices from the smallest to the largest number there is.
EXTREME = 1_400.0
# The shortest time between two quotes, in minutes.
MICROSECOND = 1e-6 / 60


@pytest.fixture
def both_ways(monkeypatch: pytest.MonkeyPatch) -> BothWays[T]:
    """Computes something twice: with every loop interpreted, then with every loop compiled."""

    def compute(what: Callable[[], T]) -> tuple[T, T]:
        with monkeypatch.context() as patch:
            patch.setattr(loops, "COMPILED_FROM", sys.maxsize)
            patch.delitem(sys.modules, "numba", raising=False)
            interpreted = what()
        with monkeypatch.context() as patch:
            patch.setattr(loops, "COMPILED_FROM", 0)
            return interpreted, what()

    return compute


def same_bits(first: object, second: object) -> bool:
    return all(
        np.array_equal(getattr(first, name).view(np.int64), getattr(second, name).view(np.int64))
        for name in vars(first)
    )


def rough_rows(seed: int) -> tuple[Floats, Floats, Floats, Floats]:
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


@pytest.mark.parametrize("seed", range(3))
def test_every_loop_gives_the_same_bits_interpreted_and_compiled(both_ways: BothWays[Any], seed: int) -> None:
    sizes, scales, minutes, returns = rough_rows(seed)
    rng = np.random.default_rng(seed)
    # Partly with a coarse price step, and prices that stand still in it.
    coarse_step = np.where(np.arange(SIZE) < SIZE // 2, 0.0, 1e-3)
    sizes[(coarse_step > 0) & (rng.random(SIZE) < 0.3)] = -np.inf
    interpreted, compiled = both_ways(lambda: filter_volatility(sizes, scales, coarse_step, minutes, -7.0, 1.0))
    assert same_bits(interpreted, compiled)
    assert np.isfinite(compiled.mean).all() and (compiled.variance > 0).all()

    market_z = returns * 500 + rng.standard_normal(SIZE)
    market_z[rng.random(SIZE) < 0.2] = np.nan
    own_z = np.where(rng.random(SIZE) < 0.1, 0.0, returns * 1_000)
    square = market_z * market_z * rng.uniform(0.5, 2, SIZE)
    peers = PeerMoves(market_z, np.zeros(SIZE), market_z, square, rng.choice(np.array([0.0, 0.7, 1.0]), SIZE))
    interpreted, compiled = both_ways(lambda: residuals(own_z, peers, minutes))
    assert same_bits(interpreted, compiled)
    assert np.isfinite(compiled.z[np.isfinite(market_z)]).all()

    prices = np.exp(np.clip(np.cumsum(returns), -700, 700))[np.sort(rng.integers(0, SIZE, SIZE))]
    of_prices = returns_of(series(prices, np.cumsum(np.maximum(minutes, 1e-6) * 60)))
    slow = np.exp(rng.standard_normal(SIZE))
    interpreted, compiled = both_ways(
        lambda: large_moves(scaled_moves(of_prices, slow, 1.0), of_prices, MarketMoves({}, []))
    )
    assert same_bits(interpreted, compiled)
    assert set(compiled.horizon) == {0.0, 15.0, 60.0, 240.0, 1_440.0}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.floats(-30, 10), st.floats(MICROSECOND, 1e6)), min_size=1, max_size=30))
def test_any_returns_after_any_time_give_the_same_bits(
    both_ways: BothWays[Any], rows: list[tuple[float, float]]
) -> None:
    sizes, minutes = np.array(rows).T
    scales = np.zeros(len(rows))
    interpreted, compiled = both_ways(lambda: filter_volatility(sizes, scales, scales, minutes, -7.0, 1.0))
    assert same_bits(interpreted, compiled)
    assert (compiled.variance > 0).all() and np.isfinite(compiled.mean).all()


def test_no_rows_give_no_results_both_ways(both_ways: BothWays[Any]) -> None:
    nothing = np.empty(0)
    for found in both_ways(lambda: residuals(nothing, PeerMoves(*[nothing] * 5), nothing)):
        assert len(found.beta) == len(found.z) == len(found.score) == 0


def test_only_many_rows_import_numba_however_short_each_series_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick must not wait for Numba; scoring 250 coins interpreted takes five times as long as loading it."""
    code = (
        "import sys; import numpy as np; from market_pipeline.anomalies.scores import loops\n"
        "def loop(rows, numbers, tables, out): out[0][0] = 1.0\n"
        "loops.COMPILED_FROM = 100\n"
        "for size in (99, 100): loops.run(loop, [np.zeros(size)], (), 1); print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
    imported: list[str] = []
    monkeypatch.setattr(loops, "import_module", imported.append)
    loops.load_compiler(loops.COMPILED_FROM - 1)
    assert not imported
    loops.load_compiler(loops.COMPILED_FROM)
    assert imported == ["numba"]


def test_a_loop_whose_machine_code_cannot_be_cached_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package folder that cannot be written to and a user without home; here a loop without a file."""
    names: dict[str, Any] = {}
    exec("def loop(rows, numbers, tables, out):\n    out[0][0] = rows[0][0] + numbers[0]", names)
    monkeypatch.setattr(loops, "COMPILED_FROM", 0)
    [found] = loops.run(names["loop"], [np.ones(1)], (2.0,), 1)
    assert found.tolist() == [3.0]
