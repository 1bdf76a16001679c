"""Which symbols are collected, and how complete their history is."""

import json
from datetime import datetime, timedelta
from threading import Lock
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Depends, Query, Request, Response

from market_pipeline.api.accept import JSON
from market_pipeline.api.caching import cached, next_page
from market_pipeline.api.coverage import AskedDays, coverage_of
from market_pipeline.api.problems import problems
from market_pipeline.api.query import SymbolInPath, each_once
from market_pipeline.api.service import Service, ServiceOf
from market_pipeline.api.symbol_documents import CoverageDocument, SymbolList
from market_pipeline.clock import iso
from market_pipeline.storage.audit import newest_quote_times
from market_pipeline.storage.coin_names import coin_names
from market_pipeline.storage.coverage import first_times
from market_pipeline.storage.engine import Database
from market_pipeline.storage.past_days import PastDays, past_days

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
