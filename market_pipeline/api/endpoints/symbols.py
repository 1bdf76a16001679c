"""Which symbols are collected, and how complete their history is."""

import json
from datetime import date, datetime, timedelta
from threading import Lock
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from market_pipeline.api.http.responses import cached, next_page
from market_pipeline.api.http.negotiation import JSON
from market_pipeline.api.http.problems import problems
from market_pipeline.api.http.query import Day, Parameters, SymbolInPath, each_once
from market_pipeline.api.models.symbols import CoverageDocument, SymbolList
from market_pipeline.api.service import Service, ServiceOf
from market_pipeline.core.clock import DAY, iso
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import Catalogue, Coin
from market_pipeline.pipeline.missing_days import PastDays, find_gaps, past_days
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import DayCoverage, day_coverage, first_times
from market_pipeline.storage.queries.latest import coin_names, newest_quote_times
from market_pipeline.storage.queries.source_gaps import stored_absences

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
        missing = {one.day for one in find_gaps(database, Catalogue([coin]), past, now) if not one.explained}
        gaps = stored_absences(database, [coin], part.start, part.end)
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


# Measuring a month of five-minute prices takes some ten milliseconds a symbol, and past days seldom change.
_KEPT = timedelta(minutes=1)
_measuring = Lock()
_measured: WeakKeyDictionary[Database, tuple[datetime, list[PastDays]]] = WeakKeyDictionary()

router = APIRouter(tags=["prices"], dependencies=[Depends(each_once)])

_DAYS = 30


@router.get(
    "/symbols",
    summary="What is collected here",
    response_model=SymbolList,
    responses=problems(invalid_request=(422, "query.x: is given more than once; give it once")),
)
def symbols(request: Request, service: ServiceOf) -> Response:
    """The configured coins with their first and newest stored price, and how complete the last 30 days were at
    most a minute ago."""
    database, catalogue = service.database, service.catalogue
    last = newest_quote_times(database, catalogue.symbols, service.clock())
    first = first_times(database, [symbol for symbol, newest in last.items() if newest is not None])
    names = coin_names(database)
    described = [
        {
            "symbol": past.symbol,
            "coin_id": catalogue.coin(past.symbol).coin_id,
            "name": names.get(past.symbol),
            "first": iso(first[past.symbol]) if past.symbol in first else None,
            "last": iso(newest) if (newest := last[past.symbol]) is not None else None,
            "last_30_days": _brief(past),
        }
        for past in _past_month(service)
    ]
    return cached(request, json.dumps({"symbols": described}).encode(), JSON)


@router.get(
    "/coverage/{symbol}",
    summary="How complete the history is",
    response_model=CoverageDocument,
    responses=problems(
        unsupported_symbol=(400, "Unsupported symbol: 'XYZ'. Supported are BTC, ETH."),
        invalid_request=(422, "query.from: write a day as in 2026-11-23"),
    ),
)
def coverage(
    request: Request, symbol: SymbolInPath, days: Annotated[AskedDays, Query()], service: ServiceOf
) -> Response:
    """What is stored of each UTC day of a symbol, the newest first: points, the largest gap, and whether
    prices are missing that the source may have. One answer has at most 366 days; of more, `next_to` and `Link`
    go on."""
    coin = service.catalogue.coin(service.symbol(symbol))
    found = coverage_of(service.database, coin, days, service.clock())
    return cached(request, json.dumps(found).encode(), JSON, next_page(request, to=found["next_to"]))


def _past_month(service: Service) -> list[PastDays]:
    """The past days of each symbol, measured at most `_KEPT` ago; who comes meanwhile waits for the same."""
    now = service.clock()
    with _measuring:
        at, found = _measured.get(service.database, (None, []))
        if at is None or not at <= now < at + _KEPT:
            found = past_days(service.database, service.catalogue, service.settings.history_start, now, _DAYS)
            _measured[service.database] = now, found
        return found


def _brief(past: PastDays) -> dict[str, Any]:
    return {
        "days": len(past.measured),
        "complete_days": len(past.measured) - len(past.missing),
        "largest_gap_seconds": past.largest_gap.total_seconds() if past.measured else None,
    }
