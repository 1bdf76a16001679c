"""What somebody may want to set about detection, with the defaults that the rows are made with.

All of it is part of the detector version: other settings make other rows.
"""

from dataclasses import dataclass


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
