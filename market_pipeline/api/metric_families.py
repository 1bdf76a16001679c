"""What Prometheus is told: each number with its name, its unit and what it means."""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import get_args

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from market_pipeline import __version__
from market_pipeline.anomalies.anomaly import Severity
from market_pipeline.api.dagster_home import DagsterUnavailable
from market_pipeline.api.service import Service
from market_pipeline.budget.ledger import requests_by_outcome
from market_pipeline.budget.overview import status_now
from market_pipeline.budget.status import BudgetStatus
from market_pipeline.budget.wiring import account_of
from market_pipeline.clock import DAY
from market_pipeline.logs import get_logger
from market_pipeline.prices.quotes import Reason
from market_pipeline.state.conditions import Kind, conditions
from market_pipeline.state.facts import PriceFacts, State
from market_pipeline.storage import tables
from market_pipeline.storage.recent_counts import alarms_by_severity, quotes_by_symbol
from market_pipeline.storage.recent_refusals import refusals_by_reason

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
    yield from _of_budget(status_now(service.settings, service.database))
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


def _of_conditions(state: State) -> Metric:
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


def _of_dagster(service: Service, state: State) -> Iterator[Metric]:
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
