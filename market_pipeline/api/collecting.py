"""Collecting one price: asked for, judged and stored by the asset's functions, and told to Dagster."""

import math
from datetime import timedelta

from market_pipeline.api.problems import ApiProblem
from market_pipeline.api.service import Service
from market_pipeline.budget.rules import LONGEST_COOL_DOWN, SECOND
from market_pipeline.budget.wiring import budgeted_client
from market_pipeline.coingecko.errors import BudgetExhausted, CoinGeckoError
from market_pipeline.coingecko.retries import asked_pause
from market_pipeline.logs import current_trace_id, get_logger
from market_pipeline.prices.clock_skew import complaint
from market_pipeline.prices.collect import collect
from market_pipeline.prices.collected import Collected
from market_pipeline.prices.quotes import Quote, Refusal
from market_pipeline.storage import tables
from market_pipeline.storage.arrivals import arrivals, keep, price_facts, refusal_facts
from market_pipeline.storage.newest import Asked, Point, newest_points
from market_pipeline.storage.schema import check_schema

logger = get_logger(__name__)

# Somebody waits for the answer; who comes in vain is told when to come again.
LONGEST_WAIT_SECONDS = 5.0
# What is worth waiting for where nobody told.
_UNTOLD_SECONDS = 60.0

_MICROSECOND = timedelta(microseconds=1)


def collect_once(service: Service, symbol: str) -> Point:
    """The current price of `symbol`, asked for now, as it stands in `raw_prices` in the end.

    A price that was known already keeps the time at which it was first stored. Raises an ApiProblem
    where CoinGecko gives no usable answer in useful time, and where its price is refused; a StorageError
    or a SQLAlchemyError if the database fails.
    """
    check_schema(service.database)
    with budgeted_client(service.settings, service.database, max_wait=LONGEST_WAIT_SECONDS) as client:
        now = client.clock()
        collected = collect(client, service.catalogue, [(now.date(), symbol)], now)
    for error in collected.failures.values():
        raise _unavailable(symbol, error)
    if collected.refusals:
        raise _refused(service, collected, collected.refusals[0])
    return _stored(service, collected, collected.quotes[0])


def _stored(service: Service, collected: Collected, quote: Quote) -> Point:
    day = (quote.timestamp.date(), quote.symbol)
    facts = price_facts(service.database, [day], collected)[day]
    trace_id = _keep(service, collected)
    # Other days are no partitions.
    if service.settings.history_start <= day[0] <= quote.ingested_at.date():
        service.dagster.report(tables.raw_prices.name, day, {**facts, "trace_id": trace_id})
    asked = Asked(quote.symbol, quote.timestamp, quote.timestamp + _MICROSECOND, 1)
    return newest_points(service.database, asked, quote.ingested_at)[0]


def _refused(service: Service, collected: Collected, refusal: Refusal) -> ApiProblem:
    day = (refusal.day, refusal.symbol)
    facts = refusal_facts(service.database, [day], collected)[day]
    trace_id = _keep(service, collected)
    logger.warning("Refused: %s", refusal.detail, extra={"reason": refusal.reason.value})
    service.dagster.report(tables.rejected_prices.name, day, {**facts, "trace_id": trace_id})
    what_next = complaint(collected.clock_skew) or "Ask again in a minute."
    detail = f"{refusal.detail} It is kept in the quarantine. {what_next}"
    return ApiProblem(422, "quote-refused", detail, reason=refusal.reason.value)


def _keep(service: Service, collected: Collected) -> str:
    """Store what came under the trace id of this request, which it returns."""
    trace_id = current_trace_id() or "none"
    changed = keep(service.database, *arrivals(collected, trace_id))
    logger.info(
        "%d accepted, %d refused, %d rows new or changed",
        len(collected.quotes), len(collected.refusals), changed, extra={"rows_affected": changed},
    )
    return trace_id


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
