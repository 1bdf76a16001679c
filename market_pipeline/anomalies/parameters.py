"""The parameters of detection, and the version that rows carry.

`DetectionSettings` are the limits that decide what is flagged, `PARAMETERS` those of the scores. Both enter
`DETECTOR_VERSION`, which Dagster compares, because other numbers give other rows. `RULES` is raised by hand when a
formula or a constant beside its rule changes what is flagged (a test fails as a reminder). Wording is not part of the
version.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache

RULES = 25

MINUTES_PER_DAY = 1_440.0
MINUTES_PER_YEAR = 365.0 * MINUTES_PER_DAY

# The smallest probability, so that -log10 of it is finite, and the largest return (databases refuse infinity).
LEAST_P = 1e-300
LARGEST_RETURN = 1e300
# expm1 of anything above 709 overflows.
LARGEST_LOG_RETURN = 700.0


@dataclass(frozen=True)
class DetectionSettings:
    """Limits of detection. Probabilities are calibrated, two-sided and per quote.

    - `user_threshold`: flag a move of at least this simple return between two consecutive quotes, which are at most
      `user_threshold_minutes` apart: over days it is nothing unusual.
    - `watch_p`: flag a jump, or a move of a coin's own, below this probability.
    - `large_move_days`, `market_move_days`: flag a large move of a coin, or of the market, that is expected at most
      once in so many days.
    - `materiality`: do not flag a move smaller than this many times the floor of its coin and duration; 0 flags all.
    - `alert_importance`, `critical_importance`: the severities, by the importance of a row.
    - `episode_minutes`: flagged quotes at most this far apart, or 1.5 usual intervals, are one episode or event.
    - `stale_minutes`, `stale_gaps`: a feed is stale after this many minutes and this many times its usual spacing,
      whichever is longer.
    - `bad_tick_undone`, `bad_tick_quotes`: a move is a bad tick if one of the next `bad_tick_quotes` changed quotes
      reverses at least this share of it.
    - `bad_tick_z`, `bad_tick_alone_z`: and if it is this many times as large as expected; the second without other
      coins that show that the market stood still.

    Raises ValueError if the severities are not in order.
    """

    user_threshold: float = 0.05
    user_threshold_minutes: float = 360.0
    watch_p: float = 1e-3
    large_move_days: float = 7.0
    market_move_days: float = 5.0
    materiality: float = 0.5
    alert_importance: float = 3.3
    critical_importance: float = 4.4
    episode_minutes: float = 60.0
    stale_minutes: float = 15.0
    stale_gaps: float = 5.0
    bad_tick_undone: float = 0.85
    bad_tick_quotes: int = 2
    bad_tick_z: float = 8.0
    bad_tick_alone_z: float = 15.0

    def __post_init__(self) -> None:
        if not self.alert_importance < self.critical_importance:
            raise ValueError(
                "severities must be ordered alert_importance < critical_importance, but are "
                f"{self.alert_importance}, {self.critical_importance}"
            )


DEFAULT_SETTINGS = DetectionSettings()


@dataclass(frozen=True)
class Component:
    """One component of log volatility: its stationary standard deviation and its half-life in minutes."""

    deviation: float
    half_life: float


@dataclass(frozen=True)
class FilterParameters:
    """The volatility filter, fitted by predictive likelihood on real prices: docs/decisions/0008.

    `slow` is a random walk (an Ornstein-Uhlenbeck process has no known mean here), the others revert to zero. A
    return is an outlier with probability `outliers` and then `outlier_scale` times as wide, so that one jump does not
    pass for a change of volatility.
    """

    slow: Component = Component(0.40, 14 * MINUTES_PER_DAY)
    middle: Component = Component(0.35, 240.0)
    fast: Component = Component(0.35, 12.0)
    outliers: float = 0.005
    outlier_scale: float = 3.0
    # Without a calibration: 60% a year, within a factor of e.
    annual_volatility: float = 0.6
    level_deviation: float = 1.0
    calibrated_level_deviation: float = 0.5


@dataclass(frozen=True)
class Parameters:
    """Parameters of the scores; times in minutes unless the name says otherwise."""

    filter: FilterParameters = FilterParameters()
    # Sources refresh about once a minute; below that a difference is rounding rather than diffusion.
    shortest_interval: float = 1.0
    # With fewer fresh quotes than this the filter has not settled; the second where a calibration knows the coin. A
    # day is scored with the week before it, which has eight daily quotes.
    warm_up_quotes: int = 30
    known_warm_up_quotes: int = 5
    # An interval is a gap if it is this many times as long as each of the last few, and at least this long.
    gap_ratio: float = 3.0
    gap_intervals: int = 3
    gap_minutes: float = 15.0
    # Hour factors are learned from this many days.
    hour_days: int = 90
    # Prior standard deviation of the log hour factors, for shrinkage.
    hour_deviation: float = 0.2
    horizons: tuple[float, ...] = (15.0, 60.0, 240.0, 1_440.0)
    slow_half_life: float = 14 * MINUTES_PER_DAY
    # Returns enter the slow volatility truncated to this many of its standard deviations.
    slow_truncation: float = 4.0
    # The memories of the regression on the market: half-lives in minutes, but at least so many quotes.
    beta_half_life: tuple[float, float] = (3 * MINUTES_PER_DAY, 70.0)
    # Standardised moves enter the regression truncated to this.
    beta_truncation: float = 4.0
    # Prior beta, with the weight of this many squared market moves.
    beta_prior: float = 0.7
    beta_prior_weight: float = 10.0
    # Variance of the residuals: the geometric mean of two memories, its start, the truncation of what enters it, and
    # how much it grows with the mean square of the peers' moves at the same quote.
    residual_fast: tuple[float, float] = (30.0, 6.0)
    residual_slow: tuple[float, float] = (MINUTES_PER_DAY, 35.0)
    residual_variance: float = 0.2
    residual_truncation: float = 3.0
    residual_growth: float = 1.0
    # The market's share of a move is its median move / the coin's, each in its own standard deviations. The scope is
    # market from the first share on, idiosyncratic up to the second.
    market_share: float = 0.45
    idiosyncratic_share: float = 0.3
    # At most this many coins make up the market.
    market_coins: int = 8
    # Hours, levels and the tails of single returns are learned from this many days; the highest scores of days and the
    # long volatility are remembered for up to `memory_days`, the latter with a half-life in days.
    calibration_days: int = 90
    memory_days: int = 730
    long_half_life: float = 365.0
    # Before so many days are known, the long volatility is mixed with a prior one (0.9 is 90% a year).
    long_prior_days: float = 60.0
    prior_long_volatility: float = 0.9
    # Tails are fitted beyond these quantiles, of quotes and of days.
    tail_quantile: float = 0.98
    peak_quantile: float = 0.8
    # What a prior tail counts for: days where a tail counts days, excesses where it counts quotes.
    prior_days: float = 365.0
    prior_excesses: float = 100.0
    # No smaller move is worth an alarm.
    least_move: float = 0.005
    # Returns of different cadences have different tails: the borders between 5-minute, hourly and daily returns.
    long_interval: float = 20.0
    daily_interval: float = 360.0


PARAMETERS = Parameters()


@lru_cache
def version_of(parameters: Parameters, settings: DetectionSettings) -> str:
    """Return a short text that changes with any of these numbers and with `RULES`."""
    text = json.dumps([asdict(parameters), asdict(settings)], sort_keys=True)
    return f"{RULES}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


DETECTOR_VERSION = version_of(PARAMETERS, DEFAULT_SETTINGS)
