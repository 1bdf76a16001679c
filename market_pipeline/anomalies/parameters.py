"""What somebody may want to set about detection, with the defaults that the rows are made with.

All of it is part of the detector version: other settings make other rows.
"""

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class DetectionSettings:
    """Limits of detection. Probabilities are calibrated, two-sided and per quote.

    - `user_threshold`: a move between two consecutive quotes, simple return, flagged from here on.
    - `watch_p`, `alert_p`, `critical_p`: the severities; a jump is flagged below `watch_p`.
    - `large_move_p`, `large_move_hourly_p`: a large move of a coin or of the market is flagged below the
      first, on quotes more than 20 minutes apart below the second. As large moves come in clusters, that
      makes about 0.2 episodes per symbol and day.
    - `episode_minutes`: flagged quotes at most this far apart are one episode, one market event.
    - `stale_minutes`, `stale_gaps`: a feed stands still after so many minutes and so many times its
      usual spacing, whichever is longer.
    - `bad_tick_undone`, `bad_tick_quotes`: a move is a bad tick if the next so many changed quotes undo
      this share of it.

    Raises ValueError if the severities are not in order.
    """

    user_threshold: float = 0.05
    watch_p: float = 1e-3
    alert_p: float = 2e-4
    critical_p: float = 2e-5
    large_move_p: float = 2e-3
    large_move_hourly_p: float = 1e-2
    episode_minutes: float = 60.0
    stale_minutes: float = 15.0
    stale_gaps: float = 5.0
    bad_tick_undone: float = 0.7
    bad_tick_quotes: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.critical_p < self.alert_p < self.watch_p < 1:
            raise ValueError(
                "severities must be ordered 0 < critical_p < alert_p < watch_p < 1, but are "
                f"{self.critical_p}, {self.alert_p}, {self.watch_p}"
            )


RULES = 3

MINUTES_PER_DAY = 1_440.0
MINUTES_PER_YEAR = 365.0 * MINUTES_PER_DAY


@dataclass(frozen=True)
class Component:
    """One part of log volatility: its stationary standard deviation and its half-life in minutes."""

    deviation: float
    half_life: float


@dataclass(frozen=True)
class FilterParameters:
    """The volatility filter. Chosen by predictive likelihood on real prices: docs/decisions/0008.

    `slow` moves like a random walk (an Ornstein-Uhlenbeck process has no known mean here), the others
    return to zero. A return is an outlier with probability `outliers` and then `outlier_scale` times
    as wide, so that one jump does not pass for a change of volatility.
    """

    slow: Component = Component(0.40, 14 * MINUTES_PER_DAY)
    middle: Component = Component(0.35, 240.0)
    fast: Component = Component(0.35, 12.0)
    outliers: float = 0.005
    outlier_scale: float = 3.0
    # Where nothing is known: 60 % a year, give or take a factor of e.
    annual_volatility: float = 0.6
    level_deviation: float = 1.0
    # With a calibration the level of each coin is known better.
    calibrated_level_deviation: float = 0.5


@dataclass(frozen=True)
class Parameters:
    """All parameters of the scores; times in minutes unless the name says otherwise."""

    filter: FilterParameters = FilterParameters()
    # Sources refresh about once a minute; below that a difference is rounding rather than diffusion.
    shortest_interval: float = 1.0
    # Fewer changed quotes than this and the filter hardly knows the coin.
    warm_up_quotes: int = 30
    # Quotes are missing in an interval so many times as long as each of the last few, and this long at least.
    gap_ratio: float = 3.0
    gap_intervals: int = 3
    gap_minutes: float = 15.0
    # The usual volatility of an hour of the day is learned from this many days.
    hour_days: int = 90
    # How far hours differ (standard deviation of the log factor), to shrink what little data says.
    hour_deviation: float = 0.2
    horizons: tuple[float, ...] = (15.0, 60.0, 240.0, 1_440.0)
    slow_half_life: float = 14 * MINUTES_PER_DAY
    # Returns count in the slow volatility up to this many of its own standard deviations.
    slow_truncation: float = 4.0
    beta_half_life: float = 3 * MINUTES_PER_DAY
    # Standardised moves beyond this do not move beta.
    beta_truncation: float = 4.0
    # Until the regression has seen about so many squared market moves, beta is close to this.
    beta_prior: float = 0.7
    beta_prior_weight: float = 10.0
    # The scale of what the market leaves: its memory, where it starts, and where a residual stops to count.
    residual_half_life: float = 180.0
    residual_variance: float = 0.5
    residual_truncation: float = 3.0
    # A coin whose market moved at least so many times as far (each in its own standard deviations) moved with
    # the market; below the other it moved alone.
    market_ratio: float = 0.4
    idiosyncratic_ratio: float = 0.3
    # The market is told by at most this many coins.
    market_coins: int = 8
    calibration_days: int = 90
    # A tail is fitted beyond this quantile, from at least so many scores of a coin, or of all coins together,
    # and from so many days.
    tail_quantile: float = 0.98
    coin_tail_scores: int = 5_000
    tail_scores: int = 1_500
    tail_days: float = 30.0
    # Hourly and 5-minute returns have different tails: the border between short and long intervals.
    long_interval: float = 20.0


PARAMETERS = Parameters()


def version_of(*parameters: object) -> str:
    """A short text that changes with any of these dataclasses and with `RULES`."""
    text = json.dumps([asdict(each) for each in parameters], sort_keys=True)  # type: ignore[call-overload]
    return f"{RULES}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


DETECTOR_VERSION = version_of(PARAMETERS, DetectionSettings())
