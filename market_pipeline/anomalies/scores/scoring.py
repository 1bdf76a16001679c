"""Score every quote: one table in, the same rows with their scores out.

Causal: the scores of a row depend on quotes at or before its own time only, so later quotes change nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Scope
from market_pipeline.anomalies.calibration import Calibration, long_volatility, tail_of
from market_pipeline.anomalies.parameters import LARGEST_LOG_RETURN, LEAST_P, PARAMETERS
from market_pipeline.anomalies.scores.coin_moves import CoinMoves, coin_moves
from market_pipeline.anomalies.scores.horizons import LargeMoves, MarketMoves, ScaledMoves, large_moves, scaled_moves
from market_pipeline.anomalies.scores.loops import load_compiler
from market_pipeline.anomalies.scores.market import Era, PeerMoves, market_eras, peer_moves
from market_pipeline.anomalies.scores.residuals import Residuals, residuals
from market_pipeline.anomalies.scores.returns import QUALITIES, quality_of
from market_pipeline.anomalies.scores.tails import BASES, PEAKS, share_of_quotes
from market_pipeline.anomalies.series import CADENCES, Floats, PriceSeries, cadence_codes, rows_by_symbol
from market_pipeline.core.columns import Columns

# Text columns are codes until the end: a million strings cost more than their scores.
WORDS = {
    "scope": tuple(scope.value for scope in (Scope.UNKNOWN, Scope.MARKET, Scope.MIXED, Scope.IDIOSYNCRATIC)),
    "quality": QUALITIES,
    "calibration": BASES,
}


def score_columns(
    prices: Columns, calibration: Calibration | None = None, large_since: np.datetime64 | None = None
) -> Columns:
    """Return `prices` (symbol, timestamp, price) with the scores of each row, in the same order.

    The rows of each symbol must be in time order, in any interleaving. `before` and `large_move_before` are row
    numbers of this table. Large moves of the coin and the market are sought from the quote before `large_since` (UTC)
    on, by default everywhere. Raises ValueError if times do not increase strictly or a price is not a finite number
    above zero.
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
    coins = {
        symbol: coin_moves(PriceSeries(symbol, timestamps[rows], prices[rows]), calibration)
        for symbol, rows in groups.items()
    }
    market = market_eras({symbol: coin.path for symbol, coin in coins.items()})
    # From the quote before: it is what the other coins see of this one at first.
    first = {
        symbol: 0 if large_since is None else max(int(np.searchsorted(timestamps[rows], large_since)) - 1, 0)
        for symbol, rows in groups.items()
    }
    scaled: dict[str, ScaledMoves] = {}
    for symbol, coin in coins.items():
        scaled[symbol] = _scaled(symbol, coin, calibration, first[symbol], next(iter(scaled.values()), None))
    market_moves = MarketMoves(scaled, market)
    out: dict[str, NDArray[Any]] = {}
    for symbol, rows in groups.items():
        # Contiguous rows are copied several times as fast as scattered ones.
        contiguous = len(rows) == rows[-1] - rows[0] + 1
        place = slice(rows[0], rows[-1] + 1) if contiguous else rows
        large = large_moves(scaled[symbol], coins[symbol].returns, market_moves, details=details)
        scores = _score_coin(symbol, coins[symbol], market, large, rows, calibration, details=details)
        for name, values in scores.items():
            if name not in out:
                out[name] = np.empty(len(prices), dtype=values.dtype)
            out[name][place] = values
    return out if out else _no_rows(details)


def _score_coin(
    symbol: str,
    coin: CoinMoves,
    market: Sequence[Era],
    large: LargeMoves,
    rows: NDArray[np.intp],
    calibration: Calibration | None,
    *,
    details: bool,
) -> dict[str, NDArray[Any]]:
    returns = coin.returns
    peers = peer_moves(symbol, returns, coin.z, market)
    own = residuals(coin.z, peers, returns.elapsed)
    by_name = {"jump": coin.filtered.score, "large_move": large.score, "residual": own.score, "market": large.market}
    p, basis = _probabilities(symbol, by_name, cadence_codes(returns.elapsed), calibration)
    # No tail is fitted to the scores of coarse prices; the probability of a number of steps is itself nearly true.
    coarse = returns.coarse_step > 0
    p["jump"][coarse] = np.maximum(10.0 ** -coin.filtered.score[coarse], LEAST_P)
    ratio = _market_ratio(peers.z, coin.z)
    scores: dict[str, NDArray[Any]] = {
        "jump_score": coin.filtered.score,
        "jump_p": p["jump"],
        "z": coin.z,
        "expected_move": np.expm1(np.minimum(coin.deviation, LARGEST_LOG_RETURN)),
        "large_move_score": large.score,
        "large_move_p": p["large_move"],
        "large_move_days": p["large_move_days"],
        "market_score": large.market,
        "market_p": p["market"],
        "market_days": p["market_days"],
        "market_z": peers.z,
        "residual_score": own.score,
        "residual_z": own.z,
        "residual_p": p["residual"],
        "scope": _scope_codes(ratio),
        "quality": quality_of(returns, is_known=calibration is not None and symbol in calibration.coins),
        "calibration": basis,
    }
    if details:
        scores.update(_details(coin, peers, own, large, rows))
        unknown = np.full(len(coin.z), np.nan)
        percentiles = calibration.volatility_percentiles(symbol, coin.annual) if calibration else unknown
        scores["volatility_percentile"] = percentiles
        scores["market_share"] = np.clip(ratio, 0.0, 1.0)
    return scores


def _scaled(
    symbol: str, coin: CoinMoves, calibration: Calibration | None, first: int, like: ScaledMoves | None = None
) -> ScaledMoves:
    return scaled_moves(coin.returns, coin.filtered.slow, long_volatility(calibration, symbol), first, like)


def _probabilities(
    symbol: str, scores: Mapping[str, Floats], cadences: NDArray[np.int8], calibration: Calibration | None
) -> tuple[dict[str, Floats], NDArray[np.int8]]:
    """Return the probability of each score, the days between such large moves, and what the jump's rests on."""
    size = len(cadences)
    p = {name: np.ones(size) for name in (*scores, "large_move_days", "market_days")}
    basis = np.zeros(size, dtype=np.int8)
    for code in np.unique(cadences).tolist():
        cadence = CADENCES[code]
        rows: Any = slice(None) if (cadences == code).all() else cadences == code
        for name, values in scores.items():
            tail = tail_of(calibration, symbol, name, cadence)
            chance = tail.probability(values[rows])
            if name in PEAKS:
                p[f"{name}_days"][rows] = 1 / chance
                chance = share_of_quotes(chance, cadence)
            p[name][rows] = chance
            if name == "jump":
                basis[rows] = BASES.index(tail.basis)
    return p, basis


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
    coin = coin_moves(empty, None)
    large = large_moves(_scaled("", coin, None, 0), coin.returns, MarketMoves({}, []))
    return _score_coin("", coin, [], large, np.empty(0, np.intp), None, details=details)
