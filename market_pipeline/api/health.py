"""Whether the process lives and whether it can serve: for people, load balancers and supervisors."""

import json
from datetime import datetime
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Response
from sqlalchemy.exc import SQLAlchemyError

from market_pipeline.api.accept import JSON
from market_pipeline.api.conditions import conditions
from market_pipeline.api.health_documents import Alive, Readiness
from market_pipeline.api.problems import ApiProblem, problems
from market_pipeline.api.readiness import State, look
from market_pipeline.api.service import Service, ServiceOf
from market_pipeline.api.state_threads import StateThreads
from market_pipeline.clock import iso
from market_pipeline.logs import get_logger
from market_pipeline.storage.errors import SchemaMismatch, StorageError
from market_pipeline.storage.schema import REVISION, check_schema

logger = get_logger(__name__)

router = APIRouter(tags=["state"])

_NOT_STORED = {"Cache-Control": "no-store"}
_UNREACHABLE = (
    "The database cannot be read. See that it runs and that DATABASE_URL names it; "
    "the log has the reason under the trace id."
)
_NOT_MIGRATED = (
    "The tables are not those of this version. Run `market-pipeline migrate`; "
    "if they are newer, update market_pipeline."
)


@router.get("/healthz", summary="Whether the process answers", response_model=Alive)
async def healthz() -> Response:
    """The process answers. Nothing else is looked at."""
    return Response('{"status":"alive"}', headers=_NOT_STORED, media_type=JSON)


@router.get(
    "/readyz",
    summary="Whether it can serve, and who collects",
    response_model=Readiness,
    responses=problems(not_ready=(503, _UNREACHABLE)),
)
async def readyz(service: ServiceOf, threads: StateThreads) -> Response:
    """Whether the database can be read, how fresh the prices are, and whether Dagster's daemons are alive.

    It is 503 only where nothing can be read: what was collected is served even if nobody collects any more.
    Then the status is `degraded`, and `conditions` tell why.
    """
    document = await to_thread.run_sync(_looked, service, limiter=threads)
    return Response(json.dumps(document), headers=_NOT_STORED, media_type=JSON)


def _looked(service: Service) -> dict[str, Any]:
    try:
        check_schema(service.database)
        return _document(service, look(service))
    except (StorageError, SQLAlchemyError) as error:
        logger.error("Not ready: %s", error)
        detail = _NOT_MIGRATED if isinstance(error, SchemaMismatch) else _UNREACHABLE
        raise ApiProblem(503, "not-ready", detail, {"Retry-After": "10"}) from None


def _document(service: Service, state: State) -> dict[str, Any]:
    found = list(conditions(state))
    stale = state.stale
    return {
        "status": "degraded" if found else "ready",
        "conditions": [{"kind": condition.kind, "detail": condition.detail} for condition in found],
        "checked_at": iso(state.now),
        "schema_revision": REVISION,
        "symbols": [
            {
                "symbol": symbol, "newest": iso(at) if at else None, "age_seconds": _age(state, at),
                "fresh": symbol not in stale,
            }
            for symbol, at in state.newest.items()
        ],
        "scheduler_alive": state.scheduler_alive,
        "daemons": None if state.daemons is None else [
            {"daemon": beat.daemon, "heartbeat_age_seconds": _age(state, beat.at), "alive": beat.alive}
            for beat in state.daemons
        ],
    }


def _age(state: State, at: datetime | None) -> float | None:
    """Seconds since `at`; a source may be a little ahead of our clock."""
    return None if at is None else max(0.0, (state.now - at).total_seconds())
