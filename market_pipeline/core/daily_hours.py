"""Hours of the day that return every day, such as the quiet hours of alerts: `22:00-07:00 Europe/Berlin`."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from market_pipeline.core.clock import DAY

_FORM = re.compile(r"(\d\d):(\d\d)\s*-\s*(\d\d):(\d\d)(?:\s+([A-Za-z0-9_+\-/]+))?")


@dataclass(frozen=True)
class DailyHours:
    """From `start` to `end` on the wall clock of `zone`, over midnight where `end` is the earlier of the two."""

    start: time
    end: time
    zone: ZoneInfo

    def end_after(self, now: datetime) -> datetime | None:
        """Return when the hours that contain `now` (aware) end, in UTC; None if `now` is outside of them."""
        today = now.astimezone(self.zone).date()
        for day in (today - DAY, today):
            begin, end = self._on(day)
            if begin <= now < end:
                return end
        return None

    def _on(self, day: date) -> tuple[datetime, datetime]:
        last = day if self.start < self.end else day + DAY
        return self._at(day, self.start), self._at(last, self.end)

    def _at(self, day: date, wall: time) -> datetime:
        # A time that the change to summer time skips is read with the offset before it.
        return datetime.combine(day, wall, tzinfo=self.zone).astimezone(timezone.utc)


def parse_daily_hours(text: str) -> DailyHours:
    """Parse `22:00-07:00`, which is UTC, or `22:00-07:00 Europe/Berlin`; ValueError states what is allowed."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError("write it as 22:00-07:00 (UTC), or with a time zone as 22:00-07:00 Europe/Berlin")
    try:
        start, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    except ValueError:
        raise ValueError("hours are 00 to 23 and minutes 00 to 59, as in 22:00-07:00 Europe/Berlin") from None
    if start == end:
        raise ValueError("the hours begin and end at the same time; leave the setting empty for none")
    try:
        zone = ZoneInfo(found[5] or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{found[5]} is not a time zone; write one such as UTC or Europe/Berlin") from None
    return DailyHours(start, end, zone)
