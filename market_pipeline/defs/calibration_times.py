"""For which days a calibration is made, and which are made again."""

from datetime import datetime, timedelta

from market_pipeline.clock import DAY, start_of_day

# After a change of the detectors the calibrations of these days are made again for the new ones: of the
# days that are scored again by themselves, and one for the first of them.
MADE_AGAIN = timedelta(days=32)


def next_as_of(now: datetime) -> datetime:
    """The as-of time of a calibration made at `now` (aware UTC): the coming midnight, UTC."""
    return start_of_day(now.date() + DAY)
