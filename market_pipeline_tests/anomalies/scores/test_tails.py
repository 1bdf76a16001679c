"""Score tails: recovered from samples, monotone, and true where they were fitted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.tails import BASES, PEAKS, PRIOR_TAILS, SCORES, Tail, fit, mix, share_of_quotes
from market_pipeline.anomalies.series import CADENCES, Floats

tails = st.builds(
    Tail,
    threshold=st.floats(0.1, 20),
    share=st.floats(0.001, 0.1),
    shape=st.one_of(st.just(0.0), st.floats(-0.3, 0.6)),
    scale=st.floats(0.01, 10),
    scores=st.just(5_000),
)


def sample(shape: float, scale: float, size: int, seed: int) -> Floats:
    """Scores of which two in a hundred lie above 3, with generalised Pareto excesses."""
    rng = np.random.default_rng(seed)
    uniform = rng.random(size // 50)
    excess = -np.log(uniform) * scale if shape == 0 else (uniform**-shape - 1) / shape * scale
    return rng.permutation(np.concatenate([3 * rng.random(size - size // 50), 3 + excess]))


def fitted(scores: Floats) -> Tail:
    tail = fit(scores, 0.98, 30)
    assert tail is not None
    return tail


@pytest.mark.parametrize("shape", [0.0, 0.25, 0.5])
def test_a_known_tail_is_recovered(shape: float) -> None:
    found = [fitted(sample(shape, 0.8, 60_000, seed)) for seed in range(8)]
    assert np.mean([tail.shape for tail in found]) == pytest.approx(shape, abs=0.05)
    assert np.mean([tail.scale for tail in found]) == pytest.approx(0.8, rel=0.05)
    assert found[0].threshold == pytest.approx(3, abs=0.02)
    assert found[0].share == pytest.approx(0.02, rel=0.01)
    assert (found[0].scores, found[0].excesses, found[0].days) == (60_000, 1_200, 30)


@pytest.mark.parametrize("shape", [0.0, 0.25, 0.5])
def test_the_probability_of_a_score_is_how_often_it_comes(shape: float) -> None:
    tail = fitted(sample(shape, 0.8, 60_000, 1))
    fresh = tail.probability(sample(shape, 0.8, 1_000_000, 2))
    for p, error in ((0.01, 0.1), (1e-3, 0.25), (2e-4, 0.6)):
        assert (fresh < p).mean() == pytest.approx(p, rel=error)


@given(tails)
def test_the_probability_at_the_threshold_is_its_share(tail: Tail) -> None:
    below, at, above = tail.probability(tail.threshold * np.array([1 - 1e-9, 1.0, 1 + 1e-9]))
    assert at == pytest.approx(tail.share, rel=1e-9)
    assert below == pytest.approx(at, rel=1e-6) and above == pytest.approx(at, rel=1e-5)
    assert tail.probability(np.zeros(1))[0] == 1.0


@settings(max_examples=200)
@given(tails, st.lists(st.floats(0, 1e6), min_size=2, max_size=20))
def test_a_larger_score_is_never_more_probable_and_none_is_impossible(tail: Tail, scores: Floats) -> None:
    p = tail.probability(np.sort(np.array(scores)))
    assert (np.diff(p) <= 0).all()
    assert (p > 0).all() and (p <= 1).all()


def test_beyond_the_end_of_a_short_tail_p_is_tiny_but_not_zero() -> None:
    """A tail of negative shape ends; what lies beyond must still have a logarithm."""
    p = Tail(1.0, 0.02, -0.3, 0.5, 0).probability(np.array([2.5, 100.0, 1e12]))
    assert 0 < p[2] <= p[1] < 1e-100 < p[0]


def test_a_shape_of_almost_zero_is_the_exponential() -> None:
    scores = np.linspace(0, 30, 100, dtype=np.float64)
    exponential, nearly = Tail(1.0, 0.02, 0.0, 0.5, 0), Tail(1.0, 0.02, 1.1e-6, 0.5, 0)
    assert nearly.probability(scores) == pytest.approx(exponential.probability(scores), rel=0.01)


def test_too_few_scores_have_no_tail() -> None:
    scores = sample(0.2, 1.0, 500, 1)
    assert fit(scores, 0.98, 1) is not None
    assert fit(scores[1:], 0.98, 1) is None
    assert fit(np.empty(0), 0.98, 1) is None


MOSTLY_ZERO = np.where(np.arange(2_000) % 100 == 0, np.arange(2_000.0), 0.0)


@pytest.mark.parametrize(
    "scores", [np.zeros(2_000), np.full(2_000, 3.0), np.arange(2_000.0) % 2 - 1, MOSTLY_ZERO]
)
def test_scores_that_do_not_vary_have_no_tail(scores: Floats) -> None:
    """Where 98% of the scores are the largest, or nothing is above zero, there are no excesses."""
    assert fit(scores, 0.98, 1) is None


def test_one_score_beyond_the_rest_has_no_tail() -> None:
    scores = np.ones(2_000)
    scores[7] = 5.0
    assert fit(scores, 0.98, 1) is None


@pytest.mark.parametrize(("shape", "believed"), [(1.2, 0.6), (-0.9, -0.1)])
def test_shapes_beyond_belief_are_held_back_and_keep_the_mean(shape: float, believed: float) -> None:
    scores = sample(shape, 0.8, 60_000, 3)
    tail = fitted(scores)
    assert tail.shape == believed
    excess = scores[scores > tail.threshold] - tail.threshold
    assert tail.scale / (1 - tail.shape) == pytest.approx(excess.mean())


def test_every_score_has_a_prior_for_each_cadence() -> None:
    assert set(PRIOR_TAILS) == {(score, cadence) for score in SCORES for cadence in CADENCES}
    for (score, _), tail in PRIOR_TAILS.items():
        quantile = PARAMETERS.peak_quantile if score in PEAKS else PARAMETERS.tail_quantile
        assert tail.share == pytest.approx(1 - quantile)


@given(tails, tails, st.sampled_from(SCORES), st.lists(st.floats(0, 100), min_size=2, max_size=20))
def test_a_mixture_lies_between_its_parts_and_falls_with_the_score(
    own: Tail, pooled: Tail, score: str, scores: list[float]
) -> None:
    ordered = np.sort(np.array(scores))
    mixed = mix(own, pooled, score, "hourly")
    p = mixed.probability(ordered)
    assert (np.diff(p) <= 0).all() and (p > 0).all() and (p <= 1).all()
    assert sum(mixed.weights) == pytest.approx(1) and mixed.basis in BASES
    beyond = np.array([25.0])
    parts = [tail.probability(beyond)[0] for tail in mixed.tails]
    assert min(parts) * (1 - 1e-9) <= mixed.probability(beyond)[0] <= max(parts) * (1 + 1e-9)


@pytest.mark.parametrize("cadence", CADENCES)
def test_fewer_quotes_than_days_reach_a_score_and_their_share_falls_with_it(cadence: str) -> None:
    days = np.array([1e-4, 1e-3, 0.01, 0.1, 0.5, 1.0])
    quotes = share_of_quotes(days, cadence)
    assert (quotes <= days).all() and (np.diff(quotes) > 0).all()
