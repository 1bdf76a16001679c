"""Numbers for Prometheus, read from the database at each scrape: every worker returns the same."""

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any, get_args

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import openmetrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from market_pipeline import __version__
from market_pipeline.anomalies.anomaly import Severity
from market_pipeline.api.http.problems import problems
from market_pipeline.api.service import Service, ServiceOf, StateThreads
from market_pipeline.budget.ledger import requests_by_outcome
from market_pipeline.budget.plan_limits import account_of
from market_pipeline.budget.status import BudgetStatus, budget_status
from market_pipeline.core.clock import DAY
from market_pipeline.dagster_instance.connection import DagsterUnavailable
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.conditions import Kind, conditions
from market_pipeline.pipeline.facts import InstallationState
from market_pipeline.prices.quotes import Reason
from market_pipeline.storage.queries.counts import alarms_by_severity, quotes_by_symbol, refusals_by_reason
from market_pipeline.storage.queries.latest import day_changes, latest_quotes
from market_pipeline.storage.schema import tables

logger = get_logger(__name__)

router = APIRouter(tags=["state"])

_PREFIX = "market_pipeline"
_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/openmetrics-text": {"schema": {"type": "string"}}}}
}


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=PlainTextResponse,
    responses=_FORMATS | problems(database_error=(500, "The database failed; the log has the reason.")),
)
async def metrics(request: Request, service: ServiceOf, threads: StateThreads) -> Response:
    """Return the text format of Prometheus, or OpenMetrics if `Accept` prefers it.

    The cost follows the symbols and the rows of the last day, not all that is stored. It is 500 if the database
    cannot be read: a failed scrape is `up == 0` in Prometheus.
    """
    encode, media_type = _encoder(request.headers.get("accept", ""))
    headers = {"Cache-Control": "no-store", "Content-Type": media_type}
    scrape = SimpleNamespace(collect=lambda: families(service))
    return Response(await to_thread.run_sync(encode, scrape, limiter=threads), headers=headers)


def _encoder(accepted: str) -> tuple[Callable[[Any], bytes], str]:
    """Return the function that writes the families and its media type.

    The library's own choice would copy text of the client into the Content-Type.
    """
    kinds = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
    if "application/openmetrics-text" in kinds:
        return openmetrics.exposition.generate_latest, openmetrics.exposition.CONTENT_TYPE_LATEST
    return generate_latest, CONTENT_TYPE_PLAIN_0_0_4


def families(service: Service) -> Iterator[Metric]:
    """Yield every family as it is now; raise a StorageError or a SQLAlchemyError if the database cannot be read."""
    build = {
        "version": __version__, "database": service.database.dialect, "plan": service.settings.coingecko_plan,
    }
    yield InfoMetricFamily(f"{_PREFIX}_build", "The version and settings of this process.", build)
    state = service.state()
    yield from _of_prices(service, state)
    yield from _of_findings(service, state.now)
    yield from _of_budget(budget_status(service.settings, service.database))
    yield _of_requests(service, state.now)
    yield from _of_dagster(service, state)


def _of_prices(service: Service, state: InstallationState) -> Iterator[Metric]:
    now, prices = state.now, state.prices
    latest = latest_quotes(service.database, service.catalogue.symbols, now)
    yield _gauge(
        "last_price_usd", "The newest price that is not a bad tick, US dollars; missing if there is none.",
        {symbol: quote.price for symbol, quote in latest.items()}, "symbol",
    )
    yield _gauge(
        "price_change_24h_ratio",
        "The newest price over the one nearest to 24 hours before it, less 1: 0.05 is +5%; missing if there is none.",
        day_changes(service.database, latest, now), "symbol",
    )
    counts = quotes_by_symbol(service.database, service.catalogue.symbols, now - DAY, now)
    yield _gauge("recent_quotes", "Stored quotes of the last 24 hours.", counts, "symbol")
    yield _gauge(
        "newest_quote_age_seconds", "Seconds since the newest quote was true at the source; +Inf if none.",
        {symbol: _age(at, now) for symbol, at in prices.newest.items()}, "symbol",
    )
    yield _gauge(
        "fresh_within_seconds",
        "The age up to which a newest quote is fresh: since the last tick but one, and some slack.",
        (now - prices.oldest_fresh).total_seconds(),
    )
    yield _gauge(
        "last_scored_age_seconds", "Seconds since the newest scored quote was true at the source; +Inf if none.",
        {symbol: _age(at, now) for symbol, at in prices.scored.items()}, "symbol",
    )
    found = {condition.kind for condition in conditions(state)}
    yield _gauge(
        "condition", "1 while /readyz reports this condition, else 0.",
        {kind: float(kind in found) for kind in get_args(Kind)}, "kind",
    )


def _of_findings(service: Service, now: datetime) -> Iterator[Metric]:
    symbols = service.catalogue.symbols
    alarms = alarms_by_severity(service.database, symbols, now - DAY)
    flagged = GaugeMetricFamily(
        f"{_PREFIX}_recent_anomalies", "Alarms of the last 24 hours: anomalies that no other one represents.",
        labels=["symbol", "severity"],
    )
    for symbol in symbols:
        for severity in Severity:
            flagged.add_metric([symbol, severity.value], alarms[symbol, severity.value])
    yield flagged
    refused = dict.fromkeys((reason.value for reason in Reason), 0) | refusals_by_reason(service.database, now - DAY)
    yield _gauge("recent_refusals", "Refused quotes of the last 24 hours.", refused, "reason")


def _of_budget(status: BudgetStatus) -> Iterator[Metric]:
    until = status.cool_down_until
    pause = (until - status.now).total_seconds() if until else 0
    yield _gauge("coingecko_requests_left", "Requests that the budget has left this minute.", status.left_this_minute)
    yield _gauge("coingecko_requests_waiting", "Requests that wait for their turn.", status.waiting)
    yield _gauge("coingecko_cool_down_seconds", "Seconds until requests resume; 0 without a cool-down.", pause)
    if status.credits_left is not None:
        yield _gauge("coingecko_credits_left", "Credits that are left of this UTC month.", status.credits_left)
        meaning = "Credits of this UTC month that are reserved for live requests; history may not use them."
        yield _gauge("coingecko_credits_reserved", meaning, status.reserve)


def _of_requests(service: Service, now: datetime) -> Metric:
    sent = CounterMetricFamily(
        f"{_PREFIX}_coingecko_requests_total",
        "Requests to CoinGecko that ended, retries included; starts again with each UTC month.",
        labels=["endpoint", "outcome"],
    )
    account = account_of(service.settings).name
    for labels, count in requests_by_outcome(service.database, account, now.date().replace(day=1)).items():
        sent.add_metric(labels, count)
    return sent


def _of_dagster(service: Service, state: InstallationState) -> Iterator[Metric]:
    now, facts = state.now, state.dagster
    days = {(day, symbol) for day in (now.date(), now.date() - DAY) for symbol in service.catalogue.symbols}
    try:
        collected_at = service.dagster.last_materialized(tables.raw_prices.name, days) if facts else None
    except DagsterUnavailable as error:
        logger.warning("%s", error)
        facts = None
    meaning = "Whether Dagster's storage can be read; without it daemons, runs and collections are missing."
    yield _gauge("dagster_readable", meaning, 0 if facts is None else 1)
    if facts is None:
        return
    yield _gauge(
        "daemon_heartbeat_age_seconds", "Seconds since the daemon last reported; +Inf if it never did.",
        {beat.daemon: _age(beat.at, now) for beat in facts.daemons}, "daemon",
    )
    # Prometheus sets the label `job` itself, to the name of the scrape job.
    yield _gauge(
        "last_success_age_seconds", "Seconds since a run of the Dagster job last succeeded; +Inf if none did.",
        {job.job: _age(job.succeeded_at, now) for job in facts.jobs}, "dagster_job",
    )
    yield _gauge(
        "collection_age_seconds",
        "Seconds since prices of today or yesterday were last collected; +Inf if they never were.",
        _age(collected_at, now),
    )


def _age(at: datetime | None, now: datetime) -> float:
    """Return the seconds since `at`; a source may be slightly ahead of our clock."""
    return math.inf if at is None else max(0.0, (now - at).total_seconds())


def _gauge(name: str, meaning: str, values: float | Mapping[str, float], label: str = "") -> Metric:
    """Return a gauge with one value, or with one for each value of `label`."""
    if not isinstance(values, Mapping):
        return GaugeMetricFamily(f"{_PREFIX}_{name}", meaning, values)
    family = GaugeMetricFamily(f"{_PREFIX}_{name}", meaning, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
