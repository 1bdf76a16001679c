"""The scores of every quote: one table in, the same rows with their scores out.

Causal: what a row gets depends on quotes at or before its own time only, so later quotes change nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.calibration import GPD, PRIOR, Calibration
from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.coin_moves import CoinMoves, coin_moves
from market_pipeline.anomalies.scores.horizons import LargeMoves, large_moves
from market_pipeline.anomalies.scores.loops import load_compiler
from market_pipeline.anomalies.scores.market import Era, PeerMoves, market_eras, peer_moves
from market_pipeline.anomalies.scores.residuals import Residuals, residuals
from market_pipeline.anomalies.scores.returns import QUALITIES, Floats, quality_of
from market_pipeline.anomalies.scores.tails import PRIOR_TAILS
from market_pipeline.anomalies.series import PriceSeries, rows_by_symbol
from market_pipeline.core.columns import Columns


def probabilities(
    symbol: str, scores: Mapping[str, Floats], long: NDArray[np.bool_], calibration: Calibration | None
) -> tuple[dict[str, Floats], NDArray[np.bool_]]:
    """The calibrated probability of each score, and where that of the jump score rests on the past."""
    found = {name: np.ones(len(values)) for name, values in scores.items()}
    from_past = np.zeros(len(long), dtype=np.bool_)
    for interval, rows in (("short", ~long), ("long", long)):
        if not rows.any():
            continue
        for name, values in scores.items():
            tail = calibration.tail(symbol, name, interval) if calibration else None
            found[name][rows] = (tail or PRIOR_TAILS[name, interval]).probability(values[rows])
            if name == "jump":
                from_past[rows] = tail is not None
    return found, from_past


SCOPES = ("unknown", "market", "mixed", "idiosyncratic")


def market_ratio(market_z: Floats, z: Floats) -> Floats:
    """How far the market moved for each standard deviation of the coin; NaN where either is not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = np.where(z != 0, market_z / z, np.nan)
    return ratio


def scope_of(ratio: Floats) -> NDArray[np.int8]:
    """The numbers of the `SCOPES` by the `market_ratio`."""
    with np.errstate(invalid="ignore"):
        below = (ratio < PARAMETERS.market_ratio).astype(np.int8) + (ratio <= PARAMETERS.idiosyncratic_ratio)
        codes: NDArray[np.int8] = (ratio == ratio) * (1 + below)
    return codes


# Words are numbers until the end: a million texts cost more than their scores.
WORDS = {
    "scope": SCOPES,
    "quality": QUALITIES,
    "calibration": (PRIOR, GPD),
}
_SECONDS = 60.0
# expm1 of anything above 709 overflows.
_LARGEST_LOG_RETURN = 700.0


def score_columns(
    prices: Columns, calibration: Calibration | None = None, large_since: np.datetime64 | None = None
) -> Columns:
    """`prices` (symbol, timestamp, price) with the scores of each row, in the same order.

    The rows of each symbol must be in time order, whatever lies between them. `before` and
    `large_move_before` are row numbers of this table. Large moves of the coin and the market are looked for
    from `large_since` (UTC) on, by default everywhere. Raises ValueError if times do not increase
    strictly or a price is not a finite number above zero.
    """
    groups = rows_by_symbol(prices["symbol"])
    scored = score_groups(
        groups, prices["timestamp"], prices["price"], calibration, details=True, large_since=large_since
    )
    for name, words in WORDS.items():
        scored[name] = np.array(words, dtype=object)[scored[name]]
    given = {name: prices[name] for name in ("symbol", "timestamp", "price")}
    return Columns({**given, **scored})


def score_groups(
    groups: Mapping[str, NDArray[np.intp]],
    timestamps: NDArray[np.datetime64],
    prices: Floats,
    calibration: Calibration | None,
    *,
    details: bool,
    large_since: np.datetime64 | None = None,
) -> dict[str, NDArray[Any]]:
    """The score columns of all rows, `WORDS` as their numbers; `groups` has the rows of each symbol in order.

    With `details` also what a row of the anomalies table tells beside the scores.
    """
    load_compiler(len(prices))
    moves = {
        symbol: coin_moves(PriceSeries(symbol, timestamps[rows], prices[rows]), calibration)
        for symbol, rows in groups.items()
    }
    market = market_eras({symbol: coin.path for symbol, coin in moves.items()})
    out: dict[str, NDArray[Any]] = {}
    for symbol, rows in groups.items():
        # Rows that lie together are copied several times as fast as scattered ones.
        together = len(rows) == rows[-1] - rows[0] + 1
        place = slice(rows[0], rows[-1] + 1) if together else rows
        first = 0 if large_since is None else int(np.searchsorted(timestamps[rows], large_since))
        for name, values in _score_coin(
            symbol, moves[symbol], market, rows, calibration, details=details, first_large=first
        ).items():
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
    *,
    details: bool,
    first_large: int = 0,
) -> dict[str, NDArray[Any]]:
    returns = coin.returns
    view = peer_moves(symbol, returns, coin.z, market)
    left = residuals(coin.z, view.z, returns.elapsed)
    known = np.isfinite(view.z)
    # The log price of the market in units of this coin's slow volatility.
    steps = np.where(known & returns.changed, view.z * (coin.deviation / coin.filtered.slow), 0.0)
    large = large_moves(returns, coin.filtered.slow, np.cumsum(steps), first_large)
    long = returns.elapsed > PARAMETERS.long_interval
    p, calibrated = probabilities(
        symbol,
        {
            "jump": coin.filtered.score,
            "large_move": large.score,
            "residual": left.score,
            "market": large.market,
        },
        long,
        calibration,
    )
    ratio = market_ratio(view.z, coin.z)
    scores: dict[str, NDArray[Any]] = {
        "jump_score": coin.filtered.score,
        "jump_p": p["jump"],
        "z": coin.z,
        "expected_move": np.expm1(np.minimum(coin.deviation, _LARGEST_LOG_RETURN)),
        "large_move_score": large.score,
        "large_move_p": p["large_move"],
        "market_score": large.market,
        "market_p": p["market"],
        "market_z": view.z,
        "residual_score": left.score,
        "residual_z": left.z,
        "residual_p": p["residual"],
        "scope": scope_of(ratio),
        "quality": quality_of(returns),
        "calibration": calibrated.astype(np.int8),
    }
    if details:
        scores.update(_details(coin, view, left, large, rows))
        scores["volatility_percentile"] = _percentiles(symbol, coin, calibration)
        scores["market_share"] = np.clip(left.beta * ratio, 0.0, 1.0)
    return scores


def _details(
    coin: CoinMoves, view: PeerMoves, left: Residuals, large: LargeMoves, rows: NDArray[np.intp]
) -> dict[str, NDArray[Any]]:
    """What a row of the anomalies table tells beside the scores."""
    returns = coin.returns
    return {
        "before": np.where(returns.before >= 0, rows[returns.before], -1),
        "log_return": returns.log_return,
        "elapsed_seconds": np.where(returns.before >= 0, returns.elapsed * _SECONDS, 0.0),
        "stale_minutes": np.where(returns.changed, 0.0, returns.elapsed),
        "quotes_used": returns.number.astype(np.float64),
        "volatility": coin.annual,
        "hour_factor": np.sqrt(coin.square),
        "large_move_horizon": np.where(large.horizon > 0, large.horizon, returns.elapsed),
        "large_move_before": np.where(large.before >= 0, rows[large.before], -1),
        "beta": left.beta,
        "peers_moved": view.peers_moved,
    }


def _percentiles(symbol: str, coin: CoinMoves, calibration: Calibration | None) -> Floats:
    if calibration is None:
        return np.full(len(coin.z), np.nan)
    return calibration.volatility_percentiles(symbol, coin.annual)


def _no_rows(details: bool) -> dict[str, NDArray[Any]]:
    empty = PriceSeries("", np.empty(0, "datetime64[us]"), np.empty(0))
    return _score_coin("", coin_moves(empty, None), [], np.empty(0, np.intp), None, details=details)
