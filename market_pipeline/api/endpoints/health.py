"""Liveness and readiness: for people, load balancers and supervisors."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Response
from sqlalchemy.exc import SQLAlchemyError

from market_pipeline.api.http.problems import ApiProblem, problems
from market_pipeline.api.http.query import SymbolInPath
from market_pipeline.api.http.responses import not_cached
from market_pipeline.api.models.health import Alive, Readiness
from market_pipeline.api.service import Service, ServiceOf, StateThreads
from market_pipeline.core.clock import iso
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.conditions import Condition, conditions, status_of
from market_pipeline.pipeline.facts import InstallationState
from market_pipeline.storage.db_errors import SchemaMismatch, StorageError
from market_pipeline.storage.schema.migrate import REVISION, check_schema

logger = get_logger(__name__)

router = APIRouter(tags=["state"])

_UNREACHABLE = (
    "The database cannot be read. Check that it runs and that DATABASE_URL names it; "
    "the log has the reason under the trace id."
)
_NOT_MIGRATED = (
    "The tables are not those of this version. Run `market-pipeline migrate`; "
    "if they are newer, update market_pipeline."
)


@router.get("/healthz", summary="Whether the process answers", response_model=Alive)
async def healthz() -> Response:
    """Report that the process answers; nothing else is checked."""
    return not_cached({"status": "alive"})


@router.get(
    "/readyz",
    summary="Whether it can serve, and whether prices are collected and scored",
    response_model=Readiness,
    responses=problems(not_ready=(503, _UNREACHABLE)),
)
async def readyz(service: ServiceOf, threads: StateThreads) -> Response:
    """Check the database and each link of the chain.

    The links are daemons, schedules, runs, blocking checks, the newest price and the newest score of each symbol.
    It is 503 only where nothing can be read: stored prices are served even while nothing is collected or scored.
    Then the status is `degraded`, and `conditions` say what broke, since when, and what to do. The answer is as of
    `checked_at`, a few seconds ago at most.
    """
    return not_cached(await to_thread.run_sync(_read, service, lambda: _document(service.state()), limiter=threads))


@router.get("/symbols/{symbol}/conditions.json", include_in_schema=False)
async def conditions_of_symbol(symbol: SymbolInPath, service: ServiceOf, threads: StateThreads) -> Response:
    """Return what /readyz reports, as far as it concerns one symbol, for its page."""
    name = service.symbol(symbol)

    def read() -> dict[str, Any]:
        return {"conditions": _conditions(conditions(service.state_of(name)))}

    return not_cached(await to_thread.run_sync(_read, service, read, limiter=threads))


def _read(service: Service, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        check_schema(service.database)
        return read()
    except (StorageError, SQLAlchemyError) as error:
        logger.error("Not ready: %s", error)
        detail = _NOT_MIGRATED if isinstance(error, SchemaMismatch) else _UNREACHABLE
        raise ApiProblem(503, "not-ready", detail, {"Retry-After": "10"}) from None


def _document(state: InstallationState) -> dict[str, Any]:
    def age(at: datetime | None) -> float | None:
        """Seconds since `at`; a source may be slightly ahead of our clock."""
        return None if at is None else max(0.0, (state.now - at).total_seconds())

    found, prices, dagster = conditions(state), state.prices, state.dagster
    stale, unscored = set(prices.stale), set(prices.unscored)
    return {
        "status": status_of(found),
        "conditions": _conditions(found),
        "checked_at": iso(state.now),
        "schema_revision": REVISION,
        "symbols": [
            {
                "symbol": symbol, "newest": _iso(at), "age_seconds": age(at), "fresh": symbol not in stale,
                "scored": _iso(prices.scored[symbol]), "scored_age_seconds": age(prices.scored[symbol]),
                "scores_fresh": symbol not in unscored,
            }
            for symbol, at in prices.newest.items()
        ],
        "scheduler_alive": state.scheduler_alive,
        "daemons": None if dagster is None else [
            {"daemon": beat.daemon, "heartbeat_age_seconds": age(beat.at), "alive": beat.alive}
            for beat in dagster.daemons
        ],
        "jobs": None if dagster is None else [
            {
                "job": job.job, "last_success": _iso(job.succeeded_at),
                "last_success_age_seconds": age(job.succeeded_at),
                "last_failure": _iso(job.failed.at if job.failed else None),
            }
            for job in dagster.jobs
        ],
    }


def _conditions(found: list[Condition]) -> list[dict[str, Any]]:
    return [{"kind": each.kind, "detail": each.text, "since": _iso(each.since)} for each in found]


def _iso(at: datetime | None) -> str | None:
    return iso(at) if at else None
