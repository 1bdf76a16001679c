"""Which symbols are collected, and how complete their history is."""

import json
import time
from datetime import date, datetime, timedelta
from threading import Lock
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from market_pipeline.api.http.negotiation import JSON
from market_pipeline.api.http.problems import problems
from market_pipeline.api.http.query import Day, Parameters, SymbolInPath, each_once, not_before
from market_pipeline.api.http.responses import cached, next_page
from market_pipeline.api.models.symbols import CoverageDocument, SymbolList
from market_pipeline.api.service import UNSUPPORTED, Service, ServiceOf
from market_pipeline.core.clock import DAY, iso
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import Catalogue, Coin
from market_pipeline.pipeline.missing_days import PastDays, find_gaps, past_days
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import DayCoverage, day_coverage, first_times
from market_pipeline.storage.queries.latest import coin_names, day_changes, latest_quotes, newest_quote_times
from market_pipeline.storage.queries.source_gaps import stored_absences

router = APIRouter(tags=["prices"], dependencies=[Depends(each_once)])

_DAYS = 30
_MAX_DAYS = 366

# Measuring a month of five-minute prices takes some ten milliseconds a symbol, and past days seldom change. With
# hundreds of symbols it is kept longer, so that at most a twentieth of the time is spent on it.
_CACHED = timedelta(minutes=1)
_TIMES_KEPT = 20
_measuring = Lock()
_measured: WeakKeyDictionary[Database, tuple[datetime, timedelta, list[PastDays]]] = WeakKeyDictionary()


class DayRange(Parameters):
    """A range of whole UTC days, both ends included."""

    from_: Day | None = Field(
        None, alias="from", description="First day; by default 29 days before the last one.",
        examples=["2026-11-01"],
    )
    to: Annotated[Day | None, not_before("from_")] = Field(
        None, description="Last day; by default, and at most, today (UTC).", examples=["2026-11-22"]
    )


@router.get(
    "/symbols",
    summary="What is collected here",
    response_model=SymbolList,
    responses=problems(invalid_request=(422, "query.x: is given more than once; give it once")),
)
def symbols(request: Request, service: ServiceOf) -> Response:
    """List the configured coins with their first and newest price, 24 h change, and how complete the last 30 days are.

    The 30 days are measured once a minute, with hundreds of symbols less often.
    """
    database, catalogue = service.database, service.catalogue
    now = service.clock()
    last = newest_quote_times(database, catalogue.symbols, now)
    changes = day_changes(database, latest_quotes(database, catalogue.symbols, now), now)
    first = first_times(database, [symbol for symbol, newest in last.items() if newest is not None])
    names = coin_names(database)
    described = [
        {
            "symbol": past.symbol,
            "coin_id": catalogue.coin(past.symbol).coin_id,
            "name": names.get(past.symbol),
            "first": iso(first[past.symbol]) if past.symbol in first else None,
            "last": iso(newest) if (newest := last[past.symbol]) is not None else None,
            "change_24h": changes.get(past.symbol),
            "last_30_days": {
                "days": len(past.measured),
                "complete_days": len(past.measured) - len(past.missing),
                "largest_gap_seconds": past.largest_gap.total_seconds() if past.measured else None,
            },
        }
        for past in _past_month(service)
    ]
    return cached(request, json.dumps({"symbols": described}).encode(), JSON)


def _past_month(service: Service) -> list[PastDays]:
    """Return the past days of each symbol, measured a short time ago; one thread at a time measures."""
    now = service.clock()
    with _measuring:
        at, kept, found = _measured.get(service.database, (None, _CACHED, []))
        if at is None or not at <= now < at + kept:
            started = time.perf_counter()
            found = past_days(service.database, service.catalogue, service.settings.first_day(now), now, _DAYS)
            kept = max(_CACHED, timedelta(seconds=_TIMES_KEPT * (time.perf_counter() - started)))
            _measured[service.database] = now, kept, found
        return found


@router.get(
    "/coverage/{symbol}",
    summary="How complete the history is",
    response_model=CoverageDocument,
    responses=problems(
        unsupported_symbol=UNSUPPORTED,
        invalid_request=(422, "query.from: write a day as in 2026-11-23"),
    ),
)
def coverage(
    request: Request, symbol: SymbolInPath, days: Annotated[DayRange, Query()], service: ServiceOf
) -> Response:
    """List what is stored of each UTC day of a symbol, the newest first.

    Each day has its points, its largest gap, and whether prices are missing that the source may have. One answer has
    at most 366 days; `next_to` and `Link` lead to more.
    """
    coin, now = service.catalogue.coin(service.symbol(symbol)), service.clock()
    last = min(days.to or now.date(), now.date())
    first = days.from_ or _days_before(last, _DAYS - 1)
    oldest = max(first, _days_before(last, _MAX_DAYS - 1))
    next_to = (oldest - DAY).isoformat() if first < oldest else None
    document = _coverage(service.database, coin, oldest, last, now) | {"next_to": next_to}
    return cached(request, json.dumps(document).encode(), JSON, next_page(request, to=next_to))


def _days_before(day: date, count: int) -> date:
    return date.fromordinal(max(day.toordinal() - count, 1))


def _coverage(database: Database, coin: Coin, first: date, last: date, now: datetime) -> dict[str, Any]:
    """Describe the days from `first` to `last`, none if `first` is later; the cost follows their number."""
    covered: list[DayCoverage] = []
    gaps: list[Absence] = []
    missing: set[date] = set()
    settled = last_settled_day(now)
    if first <= last:
        part = Slice(coin.symbol, first, last)
        covered = day_coverage(database, [part])[::-1]
        past = [one for one in covered if one.day <= settled]
        missing = {one.day for one in find_gaps(database, Catalogue([coin]), past, now) if not one.explained}
        gaps = stored_absences(database, [coin], part.start, part.end)
    return {
        "symbol": coin.symbol,
        "from": first.isoformat(),
        "to": last.isoformat(),
        "days": [
            {
                "day": one.day.isoformat(), "points": one.points, "expected": one.expected,
                "largest_gap_seconds": one.largest_gap.total_seconds(),
                "complete": None if one.day > settled else one.day not in missing,
            }
            for one in covered
        ],
        "incomplete_days": [day.isoformat() for day in sorted(missing, reverse=True)],
        "source_gaps": [
            {
                "start": iso(gap.span.start), "end": iso(gap.span.end), "evidence": gap.evidence,
                "found_at": iso(gap.found_at), "first_found_at": iso(gap.since), "proven": gap.proven,
                "ask_again_at": iso(gap.ask_again_at) if gap.ask_again_at else None,
            }
            for gap in gaps
        ],
    }
