"""The days that are asked for, and what is stored of each."""

from datetime import date, datetime
from typing import Any

from pydantic import Field

from market_pipeline.api.query import Day, Parameters
from market_pipeline.clock import DAY, iso
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.slices import Slice
from market_pipeline.storage.completeness import gappy
from market_pipeline.storage.coverage import DayCoverage, day_coverage
from market_pipeline.storage.engine import Database
from market_pipeline.storage.source_gaps import remembered
from market_pipeline.symbols import Catalogue, Coin

DAYS_AT_ONCE = 366
_USUAL_DAYS = 30


class AskedDays(Parameters):
    """A stretch of whole UTC days, both ends included."""

    from_: Day | None = Field(
        None, alias="from", description="First day; by default 29 days before the last one.",
        examples=["2026-11-01"],
    )
    to: Day | None = Field(
        None, description="Last day; by default, and at most, today (UTC).", examples=["2026-11-22"]
    )

    def stretch(self, today: date) -> tuple[date, date]:
        """First and last day; the first is after the last where nothing is asked for."""
        last = min(self.to or today, today)
        return self.from_ or _days_before(last, _USUAL_DAYS - 1), last


def coverage_of(database: Database, coin: Coin, asked: AskedDays, now: datetime) -> dict[str, Any]:
    """The document of `CoverageDocument`; the cost follows the days asked for, at most `DAYS_AT_ONCE`."""
    first, last = asked.stretch(now.date())
    oldest = max(first, _days_before(last, DAYS_AT_ONCE - 1))
    document = {"symbol": coin.symbol, "from": oldest.isoformat(), "to": last.isoformat()}
    covered: list[DayCoverage] = []
    gaps: list[Absence] = []
    missing: set[date] = set()
    settled = last_settled_day(now)
    if oldest <= last:
        part = Slice(coin.symbol, oldest, last)
        covered = day_coverage(database, [part])[::-1]
        past = [one for one in covered if one.day <= settled]
        missing = {one.day for one in gappy(database, Catalogue([coin]), past, now) if not one.explained}
        gaps = remembered(database, [coin], part.start, part.end)
    return document | {
        "days": [_day(one, None if one.day > settled else one.day not in missing) for one in covered],
        "incomplete_days": [day.isoformat() for day in sorted(missing, reverse=True)],
        "source_gaps": [_gap(gap) for gap in gaps],
        "next_to": (oldest - DAY).isoformat() if first < oldest else None,
    }


def _days_before(day: date, count: int) -> date:
    return date.fromordinal(max(day.toordinal() - count, 1))


def _day(covered: DayCoverage, complete: bool | None) -> dict[str, Any]:
    return {
        "day": covered.day.isoformat(), "points": covered.points, "expected": covered.expected,
        "largest_gap_seconds": covered.largest_gap.total_seconds(), "complete": complete,
    }


def _gap(absence: Absence) -> dict[str, Any]:
    return {
        "start": iso(absence.span.start), "end": iso(absence.span.end), "evidence": absence.evidence,
        "found_at": iso(absence.found_at), "first_found_at": iso(absence.since), "proven": absence.proven,
        "ask_again_at": iso(absence.ask_again_at) if absence.ask_again_at else None,
    }
