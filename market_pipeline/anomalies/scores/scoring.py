"""Score every quote: one table in, the same rows with their scores out.

Causal: the scores of a row depend on quotes at or before its own time only, so later quotes change nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Scope
from market_pipeline.anomalies.calibration import GPD, PRIOR, Calibration
from market_pipeline.anomalies.parameters import LARGEST_LOG_RETURN, LEAST_P, MINUTES_PER_DAY, PARAMETERS
from market_pipeline.anomalies.scores.coin_moves import CoinMoves, coin_moves
from market_pipeline.anomalies.scores.horizons import LargeMoves, large_moves
from market_pipeline.anomalies.scores.loops import load_compiler
from market_pipeline.anomalies.scores.market import Era, PeerMoves, market_eras, peer_moves
from market_pipeline.anomalies.scores.residuals import Residuals, residuals
from market_pipeline.anomalies.scores.returns import QUALITIES, Returns, quality_of
from market_pipeline.anomalies.scores.tails import PRIOR_TAILS
from market_pipeline.anomalies.series import Floats, PriceSeries, rows_by_symbol
from market_pipeline.core.columns import Columns

# Text columns are codes until the end: a million strings cost more than their scores.
WORDS = {
    "scope": tuple(scope.value for scope in (Scope.UNKNOWN, Scope.MARKET, Scope.MIXED, Scope.IDIOSYNCRATIC)),
    "quality": QUALITIES,
    "calibration": (PRIOR, GPD),
}


def score_columns(
    prices: Columns, calibration: Calibration | None = None, large_since: np.datetime64 | None = None
) -> Columns:
    """Return `prices` (symbol, timestamp, price) with the scores of each row, in the same order.

    The rows of each symbol must be in time order, in any interleaving. `before` and `large_move_before` are row
    numbers of this table. Large moves of the coin and the market are sought from `large_since` (UTC) on, by default
    everywhere. Raises ValueError if times do not increase strictly or a price is not a finite number above zero.
    """
    groups = rows_by_symbol(prices["symbol"])
    times, values = prices["timestamp"], prices["price"]
    scored = score_groups(groups, times, values, calibration, details=True, large_since=large_since)
    for name, words in WORDS.items():
        scored[name] = np.array(words, dtype=object)[scored[name]]
    return Columns({"symbol": prices["symbol"], "timestamp": times, "price": values, **scored})


def score_groups(
    groups: Mapping[str, NDArray[np.intp]],
    timestamps: NDArray[np.datetime64],
    prices: Floats,
    calibration: Calibration | None,
    *,
    details: bool,
    large_since: np.datetime64 | None = None,
) -> dict[str, NDArray[Any]]:
    """Return the score columns of all rows, `WORDS` as codes; `groups` has the rows of each symbol in order.

    With `details` also the columns that only rows of `price_anomalies` need.
    """
    load_compiler(len(prices))
    moves = {
        symbol: coin_moves(PriceSeries(symbol, timestamps[rows], prices[rows]), calibration)
        for symbol, rows in groups.items()
    }
    market = market_eras({symbol: coin.path for symbol, coin in moves.items()})
    out: dict[str, NDArray[Any]] = {}
    for symbol, rows in groups.items():
        # Contiguous rows are copied several times as fast as scattered ones.
        contiguous = len(rows) == rows[-1] - rows[0] + 1
        place = slice(rows[0], rows[-1] + 1) if contiguous else rows
        first = 0 if large_since is None else int(np.searchsorted(timestamps[rows], large_since))
        scores = _score_coin(symbol, moves[symbol], market, rows, calibration, first, details=details)
        for name, values in scores.items():
            if name not in out:
                out[name] = np.empty(len(prices), dtype=values.dtype)
            out[name][place] = values
    return out if out else _no_rows(details)


def _score_coin(
    symbol: str,
    coin: CoinMoves,
    market: Sequence[Era],
    rows: NDArray[np.intp],
    calibration: Calibration | None,
    first_large: int = 0,
    *,
    details: bool,
) -> dict[str, NDArray[Any]]:
    returns = coin.returns
    peers = peer_moves(symbol, returns, coin.z, market)
    own = residuals(coin.z, peers, returns.elapsed)
    # The market's log price in units of this coin's slow volatility.
    known = np.isfinite(peers.z) & returns.fresh
    steps = np.where(known, peers.z * (coin.deviation / coin.filtered.slow), 0.0)
    large = large_moves(returns, coin.filtered.slow, np.cumsum(steps), first_large)
    by_name = {"jump": coin.filtered.score, "large_move": large.score, "residual": own.score, "market": large.market}
    p, calibrated = _probabilities(symbol, by_name, returns.elapsed > PARAMETERS.long_interval, calibration)
    ratio = _market_ratio(peers.z, coin.z)
    scores: dict[str, NDArray[Any]] = {
        "jump_score": coin.filtered.score,
        "jump_p": p["jump"],
        "z": coin.z,
        "expected_move": np.expm1(np.minimum(coin.deviation, LARGEST_LOG_RETURN)),
        "large_move_score": large.score,
        "large_move_p": p["large_move"],
        "large_move_days": _days_between(returns, p["large_move"]),
        "market_score": large.market,
        "market_p": p["market"],
        "market_days": _days_between(returns, p["market"]),
        "market_z": peers.z,
        "residual_score": own.score,
        "residual_z": own.z,
        "residual_p": p["residual"],
        "scope": _scope_codes(ratio),
        "quality": quality_of(returns),
        "calibration": calibrated.astype(np.int8),
    }
    if details:
        scores.update(_details(coin, peers, own, large, rows))
        unknown = np.full(len(coin.z), np.nan)
        percentiles = calibration.volatility_percentiles(symbol, coin.annual) if calibration else unknown
        scores["volatility_percentile"] = percentiles
        scores["market_share"] = np.clip(ratio, 0.0, 1.0)
    return scores


def _probabilities(
    symbol: str, scores: Mapping[str, Floats], long: NDArray[np.bool_], calibration: Calibration | None
) -> tuple[dict[str, Floats], NDArray[np.bool_]]:
    """Return the calibrated probability of each score, and where that of the jump score is not the prior's."""
    p: dict[str, Floats] = {name: np.ones(len(values)) for name, values in scores.items()}
    calibrated: NDArray[np.bool_] = np.zeros(len(long), dtype=np.bool_)
    for interval, rows in (("short", ~long), ("long", long)):
        if not rows.any():
            continue
        for name, values in scores.items():
            tail = calibration.tail(symbol, name, interval) if calibration else None
            p[name][rows] = (tail or PRIOR_TAILS[name, interval]).probability(values[rows])
            if name == "jump":
                calibrated[rows] = tail is not None
    return p, calibrated


def _days_between(returns: Returns, p: Floats) -> Floats:
    """Return once in how many days a quote with these probabilities is expected."""
    days: Floats = returns.elapsed / MINUTES_PER_DAY / np.maximum(p, LEAST_P)
    return days


def _market_ratio(market_z: Floats, z: Floats) -> Floats:
    """Return how far the market moved for each standard deviation of the coin; NaN where either is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = np.where(z != 0, market_z / z, np.nan)
    return ratio


def _scope_codes(ratio: Floats) -> NDArray[np.int8]:
    """Return indices into the scopes of `WORDS`; `scope_of` in `rules/peers.py` is the same rule for one move."""
    with np.errstate(invalid="ignore"):
        below = (ratio < PARAMETERS.market_share).astype(np.int8) + (ratio <= PARAMETERS.idiosyncratic_share)
        codes: NDArray[np.int8] = (ratio == ratio) * (1 + below)
    return codes


def _details(
    coin: CoinMoves, peers: PeerMoves, own: Residuals, large: LargeMoves, rows: NDArray[np.intp]
) -> dict[str, NDArray[Any]]:
    returns = coin.returns
    return {
        "before": np.where(returns.before >= 0, rows[returns.before], -1),
        "log_return": returns.log_return,
        "coarse_step": returns.coarse_step,
        "elapsed_seconds": np.where(returns.before >= 0, returns.elapsed * 60.0, 0.0),
        "stale_minutes": np.where(returns.fresh, 0.0, returns.elapsed),
        "quotes_used": returns.number.astype(np.float64),
        "volatility": coin.annual,
        "slow_volatility": coin.filtered.slow,
        "hour_factor": np.sqrt(coin.square),
        "large_move_horizon": np.where(large.horizon > 0, large.horizon, returns.elapsed),
        "market_horizon": np.where(large.market_horizon > 0, large.market_horizon, returns.elapsed),
        "market_direction": large.market_direction,
        "large_move_before": np.where(large.before >= 0, rows[large.before], -1),
        "beta": own.beta,
        "peers_moved": peers.peers_moved,
    }


def _no_rows(details: bool) -> dict[str, NDArray[Any]]:
    empty = PriceSeries("", np.empty(0, "datetime64[us]"), np.empty(0))
    return _score_coin("", coin_moves(empty, None), [], np.empty(0, np.intp), None, details=details)
