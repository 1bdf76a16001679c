"""Numbers for Prometheus, read from the database when they are asked for."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, get_args

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import openmetrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from market_pipeline import __version__
from market_pipeline.anomalies.anomaly import Severity
from market_pipeline.api.dagster_reports import DagsterUnavailable
from market_pipeline.api.http.problems import problems
from market_pipeline.api.service import Service, ServiceOf, StateThreads
from market_pipeline.budget.ledger import requests_by_outcome
from market_pipeline.budget.plan_limits import account_of
from market_pipeline.budget.status import BudgetStatus, budget_status
from market_pipeline.core.clock import DAY
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.conditions import Kind, conditions
from market_pipeline.pipeline.facts import InstallationState, PriceFacts
from market_pipeline.prices.quotes import Reason
from market_pipeline.storage.queries.counts import alarms_by_severity, quotes_by_symbol, refusals_by_reason
from market_pipeline.storage.schema import tables

logger = get_logger(__name__)

_PREFIX = "market_pipeline"


def families(service: Service) -> Iterator[Metric]:
    """Every family, as it is now; a StorageError or a SQLAlchemyError if the database cannot be read."""
    dialect, plan = service.database.dialect, service.settings.coingecko_plan
    build = {"version": __version__, "database": dialect, "plan": plan}
    yield InfoMetricFamily(f"{_PREFIX}_build", "What runs here.", build)
    state = service.state()
    now = state.now
    yield from _of_prices(service, state.prices)
    yield _of_conditions(state)
    yield from _of_findings(service, now)
    yield from _of_budget(budget_status(service.settings, service.database))
    yield _of_requests(service, now)
    yield from _of_dagster(service, state)


def _of_prices(service: Service, prices: PriceFacts) -> Iterator[Metric]:
    counts = quotes_by_symbol(service.database, service.catalogue.symbols, prices.now - DAY, prices.now)
    yield _gauge("recent_quotes", "Stored quotes of the last 24 hours.", "symbol", counts)
    yield _gauge(
        "newest_quote_age_seconds", "Seconds since the newest quote was true at the source; +Inf if none.",
        "symbol", {symbol: _age(at, prices.now) for symbol, at in prices.newest.items()},
    )
    yield _gauge(
        "last_scored_age_seconds", "Seconds since the newest scored quote was true at the source; +Inf if none.",
        "symbol", {symbol: _age(at, prices.now) for symbol, at in prices.scored.items()},
    )


def _of_conditions(state: InstallationState) -> Metric:
    found = {condition.kind for condition in conditions(state)}
    meaning = "1 while /readyz reports this condition, else 0."
    return _gauge("condition", meaning, "kind", {kind: float(kind in found) for kind in get_args(Kind)})


def _of_findings(service: Service, now: datetime) -> Iterator[Metric]:
    symbols = service.catalogue.symbols
    alarms = alarms_by_severity(service.database, symbols, now - DAY)
    flagged = GaugeMetricFamily(
        f"{_PREFIX}_recent_anomalies", "Anomalies of the last 24 hours that stand for themselves.",
        labels=["symbol", "severity"],
    )
    for symbol in symbols:
        for severity in Severity:
            flagged.add_metric([symbol, severity.value], alarms[symbol, severity.value])
    yield flagged
    refused = dict.fromkeys((reason.value for reason in Reason), 0)
    refused |= refusals_by_reason(service.database, now - DAY)
    yield _gauge("recent_refusals", "What was refused in the last 24 hours.", "reason", refused)


def _of_budget(status: BudgetStatus) -> Iterator[Metric]:
    left = "Requests that the budget has left this minute."
    yield _number("coingecko_requests_left", left, status.left_this_minute)
    yield _number("coingecko_requests_waiting", "Requests that wait for their turn.", status.waiting)
    until = status.cool_down_until
    yield _number(
        "coingecko_cool_down_seconds", "Seconds for which nobody may ask CoinGecko; 0 without a cool-down.",
        (until - status.now).total_seconds() if until else 0,
    )
    if status.credits_left is not None:
        month = "Credits that are left of this UTC month."
        yield _number("coingecko_credits_left", month, status.credits_left)
        kept = "Credits that history must leave for the live requests of this UTC month."
        yield _number("coingecko_credits_reserved", kept, status.reserve)


def _of_requests(service: Service, now: datetime) -> Metric:
    sent = CounterMetricFamily(
        f"{_PREFIX}_coingecko_requests_total",
        "Requests to CoinGecko that ended, retries included; begins anew with each UTC month.",
        labels=["endpoint", "outcome"],
    )
    account = account_of(service.settings).name
    for labels, count in requests_by_outcome(service.database, account, now.date().replace(day=1)).items():
        sent.add_metric(labels, count)
    return sent


def _of_dagster(service: Service, state: InstallationState) -> Iterator[Metric]:
    readable = "Whether Dagster's storage can be read; without it daemons, runs and collections are missing."
    now, facts = state.now, state.dagster
    days = {(day, symbol) for day in (now.date(), now.date() - DAY) for symbol in service.catalogue.symbols}
    try:
        collected_at = service.dagster.last_materialized(tables.raw_prices.name, days) if facts else None
    except DagsterUnavailable as error:
        logger.warning("%s", error)
        facts = None
    yield _number("dagster_readable", readable, 0 if facts is None else 1)
    if facts is None:
        return
    yield _gauge(
        "daemon_heartbeat_age_seconds", "Seconds since the daemon last reported; +Inf if it never did.",
        "daemon", {beat.daemon: _age(beat.at, now) for beat in facts.daemons},
    )
    yield _gauge(
        "last_success_age_seconds", "Seconds since a run of the job last succeeded; +Inf if none did.",
        "job", {job.job: _age(job.succeeded_at, now) for job in facts.jobs},
    )
    yield _number(
        "collection_age_seconds",
        "Seconds since prices of today or yesterday were last collected; +Inf if they never were.",
        _age(collected_at, now),
    )


def _age(at: datetime | None, now: datetime) -> float:
    """Seconds since `at`; a source may be a little ahead of our clock."""
    return math.inf if at is None else max(0.0, (now - at).total_seconds())


def _number(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", meaning, value)


def _gauge(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"{_PREFIX}_{name}", meaning, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


router = APIRouter(tags=["state"])

_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/openmetrics-text": {"schema": {"type": "string"}}}}
}


class _Scrape:
    """The families of one scrape. Nothing is kept between scrapes, so every worker tells the same."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        return families(self._service)


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=PlainTextResponse,
    responses=_FORMATS | problems(database_error=(500, "The database did not answer as it should.")),
)
async def metrics(request: Request, service: ServiceOf, threads: StateThreads) -> Response:
    """In the text format of Prometheus, or as OpenMetrics if `Accept` asks for it.

    The cost is that of what came in the last day, not of what is stored. It is 500 if the database cannot be
    read: a scrape that fails is what Prometheus knows as `up == 0`.
    """
    encode, media_type = _encoder(request.headers.get("accept", ""))
    headers = {"Cache-Control": "no-store", "Content-Type": media_type}
    body = await to_thread.run_sync(encode, _Scrape(service), limiter=threads)
    return Response(body, headers=headers)


def _encoder(accepted: str) -> tuple[Callable[[Any], bytes], str]:
    """What writes the families, and how that is called. The library's own choice repeats the client's words."""
    kinds = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
    if "application/openmetrics-text" in kinds:
        return openmetrics.exposition.generate_latest, openmetrics.exposition.CONTENT_TYPE_LATEST
    return generate_latest, CONTENT_TYPE_PLAIN_0_0_4
