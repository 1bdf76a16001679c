"""One price now, through the same client, budget, validation and storage as the asset."""

import math
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from market_pipeline.api.collect_limits import CollectLimits
from market_pipeline.api.endpoints.prices import point_as_json
from market_pipeline.api.http.negotiation import JSON
from market_pipeline.api.http.problems import ApiProblem, problems
from market_pipeline.api.http.query import SymbolInPath
from market_pipeline.api.models.prices import LatestPrice
from market_pipeline.api.service import Service
from market_pipeline.budget.rules import LONGEST_COOL_DOWN, SECOND
from market_pipeline.coingecko.errors import BudgetExhausted, CoinGeckoError
from market_pipeline.coingecko.retries import asked_pause
from market_pipeline.core.clock import MICROSECOND
from market_pipeline.logs import bound, current_trace_id, get_logger
from market_pipeline.pipeline.client_factory import budgeted_client
from market_pipeline.pipeline.collect import Arrival, collect, store
from market_pipeline.prices.clock_skew import complaint
from market_pipeline.prices.quotes import Quote, Refusal
from market_pipeline.storage.queries.price_pages import Point, PriceQuery, newest_points
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import check_schema

logger = get_logger(__name__)

# Somebody waits for the answer; who comes in vain is told when to come again.
LONGEST_WAIT_SECONDS = 5.0
# What is worth waiting for where nobody told.
_UNTOLD_SECONDS = 60.0


def collect_once(service: Service, symbol: str) -> Point:
    """The current price of `symbol`, asked for now, as it stands in `raw_prices` in the end.

    A price that was known already keeps the time at which it was first stored. Raises an ApiProblem
    where CoinGecko gives no usable answer in useful time, and where its price is refused; a StorageError
    or a SQLAlchemyError if the database fails.
    """
    check_schema(service.database)
    with budgeted_client(service.settings, service.database, max_wait=LONGEST_WAIT_SECONDS) as client:
        now = client.clock()
        trace_id = current_trace_id() or "none"
        days = [(now.date(), symbol)]
        arrival = collect(service.database, client, service.catalogue, days, now=now, run_id=trace_id)
    for error in arrival.collected.failures.values():
        raise _unavailable(symbol, error)
    changed = store(service.database, arrival)
    logger.info(
        "%d accepted, %d refused, %d rows new or changed",
        len(arrival.quotes), len(arrival.refusals), changed, extra={"rows_affected": changed},
    )
    if arrival.collected.refusals:
        raise _refused(service, arrival, arrival.collected.refusals[0], trace_id)
    return _stored(service, arrival, arrival.collected.quotes[0], trace_id)


def _stored(service: Service, arrival: Arrival, quote: Quote, trace_id: str) -> Point:
    day = (quote.timestamp.date(), quote.symbol)
    # Other days are no partitions.
    if service.settings.history_start <= day[0] <= quote.ingested_at.date():
        service.dagster.report(tables.raw_prices.name, day, {**arrival.price_facts[day], "trace_id": trace_id})
    asked = PriceQuery(quote.symbol, quote.timestamp, quote.timestamp + MICROSECOND, 1)
    return newest_points(service.database, asked, quote.ingested_at)[0]


def _refused(service: Service, arrival: Arrival, refusal: Refusal, trace_id: str) -> ApiProblem:
    day = (refusal.day, refusal.symbol)
    logger.warning("Refused: %s", refusal.detail, extra={"reason": refusal.reason.value})
    facts = {**arrival.refusal_facts[day], "trace_id": trace_id}
    service.dagster.report(tables.rejected_prices.name, day, facts)
    what_next = complaint(arrival.collected.clock_skew) or "Ask again in a minute."
    detail = f"{refusal.detail} It is kept in the quarantine. {what_next}"
    return ApiProblem(422, "quote-refused", detail, reason=refusal.reason.value)


def _unavailable(symbol: str, error: CoinGeckoError) -> ApiProblem:
    """Why there is no price, and when to ask again."""
    if isinstance(error, BudgetExhausted):
        kind, seconds = "budget-exhausted", error.retry_after
    else:
        asked, _ = asked_pause(error)
        # After so long the budget lets one request see whether it still holds.
        kind, seconds = "source-unavailable", min(asked or _UNTOLD_SECONDS, LONGEST_COOL_DOWN / SECOND)
    headers = {"Retry-After": str(max(1, math.ceil(seconds or _UNTOLD_SECONDS)))}
    return ApiProblem(503, kind, f"No price of {symbol}: {error.verdict}", headers)


router = APIRouter(tags=["prices"])


class CollectedPrice(LatestPrice):
    """The current price of a symbol, as it is stored now."""


async def _limits_of(request: Request) -> CollectLimits:
    limits: CollectLimits = request.app.state.collect_limits
    return limits


@router.post(
    "/collect-once/{symbol}",
    summary="Collect the current price",
    response_model=CollectedPrice,
    responses=problems(
        unsupported_symbol=(400, "Unsupported symbol: 'XYZ'. Supported are BTC, ETH."),
        invalid_request=(422, "path.symbol: Input should be a valid string"),
        quote_refused=(422, "The price -1.0 is negative. It is kept in the quarantine; ask again later."),
        too_many_requests=(429, "100 requests in 60 s are what one client may send here; ask again in 7 s."),
        database_error=(500, "The database did not answer as it should; the log has the reason."),
        source_unavailable=(503, "No price of BTC: the server or the edge before it failed."),
        budget_exhausted=(503, "No price of BTC: its turn would come in 42 s and 5 s is the longest wait."),
        too_many_at_once=(503, "40 prices are being collected; ask again in a second."),
    ),
)
async def collect_one(
    request: Request, symbol: SymbolInPath, limits: Annotated[CollectLimits, Depends(_limits_of)]
) -> Response:
    """Ask CoinGecko for the current price of a symbol, store it, and tell Dagster so.

    The answer is the price as it is stored: one that was known already keeps the time at which it was first
    stored. What is refused goes into the quarantine instead. It takes one request of the shared budget and
    waits a few seconds for it at most; `Retry-After` of a 429 or 503 tells when to come again.
    """
    client = request.client.host if request.client else "unknown"
    body = await limits.run(client, lambda service: _collected(service, symbol))
    return Response(body, headers={"Cache-Control": "no-store"}, media_type=JSON)


def _collected(service: Service, given: str) -> bytes:
    symbol = service.symbol(given)
    with bound(symbol=symbol):
        return point_as_json(symbol, collect_once(service, symbol))
