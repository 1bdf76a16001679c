"""Collect one price now, through the same client, budget, validation and storage as the asset."""

import math
from typing import Annotated

from fastapi import APIRouter, Request, Response

from market_pipeline.api.change_limits import ChangeLimits
from market_pipeline.api.endpoints.prices import point_document
from market_pipeline.api.http.problems import ApiProblem, problems
from market_pipeline.api.http.query import SymbolInPath
from market_pipeline.api.http.responses import not_cached
from market_pipeline.api.models.prices import LatestPrice
from market_pipeline.api.service import UNSUPPORTED, Service, from_state
from market_pipeline.budget.rules import LONGEST_COOL_DOWN, SECOND
from market_pipeline.coingecko.errors import BudgetExhausted, CoinGeckoError
from market_pipeline.coingecko.retries import cool_down_after
from market_pipeline.core.clock import MICROSECOND
from market_pipeline.logs import bound, current_trace_id, get_logger
from market_pipeline.pipeline.client_factory import budgeted_client
from market_pipeline.pipeline.collect import Arrival, collect, store
from market_pipeline.prices.clock_skew import complaint
from market_pipeline.storage.queries.price_pages import Point, PriceQuery, newest_points
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import check_schema

logger = get_logger(__name__)

router = APIRouter(tags=["prices"])

# The client of this API waits for the answer; instead of a longer wait it gets a Retry-After.
_MAX_WAIT_SECONDS = 5.0
# Retry-After where CoinGecko sent none.
_RETRY_SECONDS = 60.0


class CollectedPrice(LatestPrice):
    """The current price of a symbol, as it is stored now."""


@router.post(
    "/collect-once/{symbol}",
    summary="Collect the current price",
    response_model=CollectedPrice,
    responses=problems(
        unsupported_symbol=UNSUPPORTED,
        invalid_request=(422, "path.symbol: Input should be a valid string"),
        quote_refused=(422, "The price -1.0 is negative. It is stored in the quarantine. Try again in a minute."),
        too_many_requests=(429, "One client may send 100 changes in 60 s; try again in 7 s."),
        database_error=(500, "The database failed; the log has the reason under the trace id."),
        source_unavailable=(503, "No price of BTC: the server or its edge failed."),
        budget_exhausted=(503, "No price of BTC: its turn would come in 42 s and 5 s is the longest wait."),
        too_many_at_once=(503, "40 changes are in progress; try again in a second."),
    ),
)
async def collect_one(
    request: Request, symbol: SymbolInPath, limits: Annotated[ChangeLimits, from_state("change_limits")]
) -> Response:
    """Request the current price of a symbol from CoinGecko, store it, and record it in Dagster.

    The answer is the price as it is stored: one that was stored before has the time at which it was first stored. A
    refused price goes into the quarantine instead. It takes one request of the shared budget and waits at most a few
    seconds for it; `Retry-After` of a 429 or 503 says when to try again.
    """
    return not_cached(await limits.run(request, lambda service: _collect(service, symbol)))


def _collect(service: Service, given: str) -> dict[str, object]:
    symbol = service.symbol(given)
    with bound(symbol=symbol):
        return point_document(symbol, collect_once(service, symbol))


def collect_once(service: Service, symbol: str) -> Point:
    """Collect the current price of `symbol` and return it as `raw_prices` has it.

    Raises an ApiProblem if CoinGecko gives no usable answer in time, or if its price is refused; a StorageError or a
    SQLAlchemyError if the database fails.
    """
    database, trace_id = service.database, current_trace_id() or "none"
    check_schema(database)
    with budgeted_client(service.settings, database, max_wait=_MAX_WAIT_SECONDS) as client:
        now = client.clock()
        days = [(now.date(), symbol)]
        arrival = collect(database, client, service.catalogue, days, now=now, run_id=trace_id)
    for error in arrival.collected.failures.values():
        raise _unavailable(symbol, error)
    changed = store(database, arrival)
    logger.info(
        "%d accepted, %d refused, %d rows new or changed",
        len(arrival.quotes), len(arrival.refusals), changed, extra={"rows_affected": changed},
    )
    if arrival.collected.refusals:
        raise _refused(service, arrival, trace_id)
    (quote,) = arrival.collected.quotes
    day = (quote.timestamp.date(), symbol)
    # Other days are no partitions.
    if service.settings.first_day(quote.ingested_at) <= day[0] <= quote.ingested_at.date():
        service.dagster.report(tables.raw_prices.name, day, {**arrival.price_facts[day], "trace_id": trace_id})
    query = PriceQuery(symbol, quote.timestamp, quote.timestamp + MICROSECOND, 1)
    return newest_points(database, query, quote.ingested_at)[0]


def _refused(service: Service, arrival: Arrival, trace_id: str) -> ApiProblem:
    """Log and report the refusal, and describe it."""
    refusal = arrival.collected.refusals[0]
    logger.warning("Refused: %s", refusal.detail, extra={"reason": refusal.reason.value})
    day = (refusal.day, refusal.symbol)
    service.dagster.report(tables.rejected_prices.name, day, {**arrival.refusal_facts[day], "trace_id": trace_id})
    what_next = complaint(arrival.collected.clock_skew) or "Try again in a minute."
    detail = f"{refusal.detail} It is stored in the quarantine. {what_next}"
    return ApiProblem(422, "quote-refused", detail, reason=refusal.reason.value)


def _unavailable(symbol: str, error: CoinGeckoError) -> ApiProblem:
    """Describe why there is no price, and when to try again."""
    if isinstance(error, BudgetExhausted):
        kind, seconds = "budget-exhausted", error.retry_after
    else:
        pause, _ = cool_down_after(error)
        # A longer pause is probed after so long: the budget lets one request through.
        kind, seconds = "source-unavailable", min(pause or _RETRY_SECONDS, LONGEST_COOL_DOWN / SECOND)
    headers = {"Retry-After": str(max(1, math.ceil(seconds or _RETRY_SECONDS)))}
    return ApiProblem(503, kind, f"No price of {symbol}: {error.verdict}", headers)
