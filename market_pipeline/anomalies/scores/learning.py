"""Learn a calibration from the quotes of the last 90 days and from the daily peaks of up to two years."""

import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.anomalies.calibration import (
    ALL_COINS,
    PRIOR_LONG_VOLATILITY,
    Calibration,
    CoinCalibration,
    LargestDays,
    tail_key,
)
from market_pipeline.anomalies.parameters import MINUTES_PER_YEAR, PARAMETERS
from market_pipeline.anomalies.scores.coin_moves import coin_moves
from market_pipeline.anomalies.scores.daily_peaks import NOT_COUNTED, daily_peaks, joined
from market_pipeline.anomalies.scores.hours import HOURS, factors, hour_sums
from market_pipeline.anomalies.scores.returns import FIRST, STALE, WARM_UP, returns_of
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.anomalies.scores.tails import DAILY_BEND, Tail, fit
from market_pipeline.anomalies.series import CADENCES, Floats, PriceSeries, cadence_codes, rows_by_symbol
from market_pipeline.core.columns import Columns, to_datetime64

_QUANTILES = np.linspace(0, 1, 21)
_DAY = np.timedelta64(1, "D")
# The filter and beta settle in this time; the scores before it do not enter the tails.
_SETTLING = np.timedelta64(3, "D")
# Of each coin, and of the market, this many of the largest days are remembered.
_LARGEST = 40


def calibrate_columns(prices: Columns, as_of: datetime, earlier: Columns | None = None) -> Calibration:
    """Calibrate as of `as_of` (aware) from the quotes (symbol, timestamp, price) before it.

    Hours, levels and the tails of single returns are learned from the last 90 days, the rest from the quotes of up to
    `memory_days` days and from `earlier`, the `daily_peaks` of days before the first of `prices`. Later quotes are
    ignored. The rows of each symbol must be in time order, else ValueError. Coins without quotes are left out; without
    any quotes the hours are 1 and there are no tails.
    """
    return calibrate_with_peaks(prices, as_of, earlier)[0]


def calibrate_with_peaks(
    prices: Columns, as_of: datetime, earlier: Columns | None = None
) -> tuple[Calibration, Columns]:
    """Return the calibration of `calibrate_columns`, and the daily peaks of `prices`."""
    past = prices.between(as_of - timedelta(days=PARAMETERS.memory_days), as_of)
    recent = to_datetime64(as_of - timedelta(days=PARAMETERS.calibration_days))
    groups = rows_by_symbol(past["symbol"])
    hours = Calibration(as_of, _hours(past.where(past["timestamp"] >= recent)))
    volatilities = {symbol: _slow_volatility(past, symbol, rows, hours) for symbol, rows in groups.items()}
    coins = {
        symbol: CoinCalibration(math.log(long), (), 0, 0.0, None, long)
        for symbol, rows in groups.items()
        for long in [_long(past["timestamp"][rows], volatilities[symbol], earlier, symbol, as_of)]
    }
    scores = score_columns(past, Calibration(as_of, hours.hours, coins))
    peaks = daily_peaks(scores, groups)
    known = peaks if earlier is None else joined([earlier, peaks])
    known = known.where(known["cadence"] != NOT_COUNTED)
    lately = {symbol: rows[past["timestamp"][rows] >= recent] for symbol, rows in groups.items()}
    lately = {symbol: rows for symbol, rows in lately.items() if len(rows)}
    calibration = Calibration(
        as_of=as_of,
        hours=hours.hours,
        coins={symbol: _coin(scores, rows, coins[symbol].long, as_of) for symbol, rows in lately.items()},
        tails={**_tails_of_quotes(scores, lately), **_tails_of_days(known)},
        largest=_largest(known),
    )
    return calibration, peaks


def _hours(past: Columns) -> tuple[float, ...]:
    """Return the factors of all coins pooled: the same traders give them the same daily rhythm."""
    sums = [
        hour_sums(returns_of(PriceSeries(symbol, past["timestamp"][rows], past["price"][rows])))
        for symbol, rows in rows_by_symbol(past["symbol"]).items()
    ]
    if not sums:
        return (1.0,) * HOURS
    days = max(int((each.counts.sum(axis=1) > 0).sum()) for each in sums)
    deviations = sum(each.deviations.sum(axis=0) for each in sums)
    counts = sum(each.counts.sum(axis=0) for each in sums)
    pooled = factors(np.array([deviations]), np.array([counts]), np.array([float(days)]))[0]
    return tuple(map(float, pooled))


def _slow_volatility(past: Columns, symbol: str, rows: NDArray[np.intp], hours: Calibration) -> Floats:
    return coin_moves(PriceSeries(symbol, past["timestamp"][rows], past["price"][rows]), hours).filtered.slow


def _long(
    times: NDArray[np.datetime64], slow: Floats, earlier: Columns | None, symbol: str, as_of: datetime
) -> float:
    """Return the root of the mean slow variance of the days, the last of which weighs most.

    Few days are no year: they are mixed with the prior, as logarithms, so that a stablecoin is soon known to be one.
    """
    days = times.astype("datetime64[D]")
    ends = np.append(np.flatnonzero(days[1:] != days[:-1]), len(days) - 1)
    seen, volatility = days[ends], slow[ends]
    if earlier is not None:
        of_coin = (earlier["symbol"] == symbol) & (earlier["day"] < seen[0]) & (earlier["cadence"] != NOT_COUNTED)
        seen = np.concatenate([earlier["day"][of_coin], seen])
        volatility = np.concatenate([earlier["slow_volatility"][of_coin], volatility])
    settled = seen >= seen[0] + _SETTLING
    if settled.any():
        seen, volatility = seen[settled], volatility[settled]
    age = (to_datetime64(as_of) - seen) / _DAY
    mean = float(np.average(volatility**2, weights=0.5 ** (age / PARAMETERS.long_half_life)))
    known = min(len(seen) / PARAMETERS.long_prior_days, 1.0)
    return math.exp(0.5 * known * math.log(mean) + (1 - known) * math.log(PRIOR_LONG_VOLATILITY))


def _coin(scores: Columns, rows: NDArray[np.intp], long: float, as_of: datetime) -> CoinCalibration:
    annual, times = scores["volatility"][rows], scores["timestamp"][rows]
    before = int(np.searchsorted(times, to_datetime64(as_of - timedelta(days=LEAD_DAYS))))
    return CoinCalibration(
        level=float(np.log(annual).mean() - 0.5 * math.log(MINUTES_PER_YEAR)),
        volatility_quantiles=tuple(np.quantile(annual, _QUANTILES).tolist()),
        quotes=len(rows),
        days=float((times[-1] - times[0]) / _DAY),
        slow=float(scores["slow_volatility"][rows[before - 1]]) if before else None,
        long=long,
    )


def _tails_of_quotes(scores: Columns, groups: Mapping[str, NDArray[np.intp]]) -> dict[str, Tail]:
    """Fit the tails of jumps and residuals, of each coin and of all coins pooled, for each cadence."""
    tails: dict[str, Tail | None] = {}
    pooled: dict[tuple[str, str], list[Floats]] = {}
    days: dict[str, float] = {}
    for symbol, rows in groups.items():
        for (score, cadence), (values, span) in _usable(scores, rows).items():
            pooled.setdefault((score, cadence), []).append(values)
            days[cadence] = max(days.get(cadence, 0.0), span)
            tails[tail_key(symbol, score, cadence)] = fit(values, PARAMETERS.tail_quantile, span)
    for (score, cadence), pieces in pooled.items():
        tail = fit(np.concatenate(pieces), PARAMETERS.tail_quantile, days[cadence])
        tails[tail_key(ALL_COINS, score, cadence)] = tail
    return {key: tail for key, tail in tails.items() if tail is not None}


def _usable(scores: Columns, rows: NDArray[np.intp]) -> dict[tuple[str, str], tuple[Floats, float]]:
    """Return the scores of settled quotes and how many days they are of, by name and cadence."""
    times = scores["timestamp"][rows]
    qualities, inverse = np.unique(scores["quality"][rows], return_inverse=True)
    settled = np.array([not {FIRST, STALE, WARM_UP} & set(text.split(",")) for text in qualities])
    # The scores of single steps of a coarse price are lumps, from which no tail can be fitted.
    coarse = scores["coarse_step"][rows] > 0
    good = settled[inverse] & ~coarse & (times >= times[0] + _SETTLING)
    codes = cadence_codes(scores["elapsed_seconds"][rows] / 60)
    peers = np.isfinite(scores["residual_z"][rows])
    usable = {}
    for code, cadence in enumerate(CADENCES):
        of_cadence = good & (codes == code)
        span = float(len(np.unique(times[of_cadence].astype("datetime64[D]"))))
        usable["jump", cadence] = (scores["jump_score"][rows][of_cadence], span)
        usable["residual", cadence] = (scores["residual_score"][rows][of_cadence & peers], span)
    return usable


def _tails_of_days(peaks: Columns) -> dict[str, Tail]:
    """Fit the tails of the highest scores of days, all coins pooled: their scores are in units of their volatility."""
    tails = {}
    for code, cadence in enumerate(CADENCES):
        of_cadence = peaks.where(peaks["cadence"] == code)
        days, inverse = np.unique(of_cadence["day"], return_inverse=True)
        market = np.zeros(len(days))
        np.maximum.at(market, inverse, of_cadence["market"])
        for score, values in (("large_move", of_cadence["large_move"]), ("market", market[market > 0])):
            tail = fit(values, PARAMETERS.peak_quantile, float(len(days)), DAILY_BEND)
            if tail is not None:
                tails[tail_key(ALL_COINS, score, cadence)] = tail
    return tails


def _largest(peaks: Columns) -> dict[str, LargestDays]:
    found = {}
    for symbol, rows in rows_by_symbol(peaks["symbol"]).items():
        found[symbol] = _largest_days(peaks["day"][rows], peaks["large_move"][rows])
    if found:
        days, inverse = np.unique(peaks["day"], return_inverse=True)
        market = np.zeros(len(days))
        np.maximum.at(market, inverse, peaks["market"])
        found[ALL_COINS] = _largest_days(days, market)
    return found


def _largest_days(days: NDArray[np.datetime64], scores: Floats) -> LargestDays:
    order = np.argsort(-scores, kind="stable")[:_LARGEST]
    dates: list[date] = days[order].tolist()
    return LargestDays(days.min().item(), tuple(zip(dates, scores[order].tolist(), strict=True)))
