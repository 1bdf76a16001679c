"""The documents of liveness and readiness."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from market_pipeline.pipeline.conditions import Kind

_EXAMPLE: dict[str, Any] = {
    "status": "degraded",
    "conditions": [{
        "kind": "scheduler-dead",
        "detail": "The scheduler is dead: its last heartbeat was 25 min ago. No prices are collected. "
        "`market-pipeline run` starts it.",
        "since": "2026-11-23T12:01:00Z",
    }],
    "checked_at": "2026-11-23T12:26:00Z",
    "schema_revision": "0010",
    "symbols": [{
        "symbol": "BTC", "newest": "2026-11-23T12:00:00Z", "age_seconds": 1560.0, "fresh": False,
        "scored": "2026-11-23T12:00:00Z", "scored_age_seconds": 1560.0, "scores_fresh": True,
    }],
    "scheduler_alive": False,
    "daemons": [{"daemon": "SCHEDULER", "heartbeat_age_seconds": 1500.0, "alive": False}],
    "jobs": [{
        "job": "tick", "last_success": "2026-11-23T12:00:10Z", "last_success_age_seconds": 1550.0,
        "last_failure": "2026-11-23T12:05:11Z",
    }],
}

class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class ConditionDocument(BaseModel):
    """Something that is wrong."""

    kind: Kind = Field(description="The kind, for programs.")
    detail: str = Field(description="What is wrong, since when, and what to do.")
    since: datetime | None = Field(description="When this link last worked, UTC; null if that is not known.")


class SymbolFreshness(BaseModel):
    """How old the newest stored price and the newest score of a symbol are."""

    symbol: str = Field(description="The symbol in upper case.")
    newest: datetime | None = Field(description="Time of the newest price at the source, UTC; null if there is none.")
    age_seconds: float | None = Field(ge=0, description="Seconds since then; null if there is none.")
    fresh: bool = Field(description="Whether it is from the last tick but one (COLLECT_CRON) or later.")
    scored: datetime | None = Field(
        description="Time of the newest scored price, UTC; null if there is none."
    )
    scored_age_seconds: float | None = Field(ge=0, description="Seconds since then; null if there is none.")
    scores_fresh: bool = Field(description="Whether no fresh price has waited to be scored for two ticks.")


class DaemonState(BaseModel):
    """A required daemon of Dagster."""

    daemon: str = Field(description="Its name in Dagster; SCHEDULER starts the ticks.")
    heartbeat_age_seconds: float | None = Field(
        ge=0, description="Seconds since it last reported; null if it never did."
    )
    alive: bool = Field(description="Whether that is recent enough.")


class JobDocument(BaseModel):
    """How the runs of a job end."""

    job: str = Field(description="Its name; `tick` collects and scores current prices.")
    last_success: datetime | None = Field(description="When a run last succeeded, UTC; null if none did.")
    last_success_age_seconds: float | None = Field(ge=0, description="Seconds since then; null if none did.")
    last_failure: datetime | None = Field(
        description="When the last run that ended failed, UTC; null if it succeeded or was stopped by hand."
    )


class Readiness(BaseModel):
    """Whether prices are collected and scored as they should be."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    status: Literal["ready", "degraded", "unknown"] = Field(
        description="`degraded` if anything is wrong, `unknown` if Dagster's side cannot be seen from here."
    )
    conditions: list[ConditionDocument] = Field(description="What is wrong; empty if all is well.")
    checked_at: datetime = Field(description="When this was checked, UTC.")
    schema_revision: str = Field(description="The revision of the tables, which is that of this version.")
    symbols: list[SymbolFreshness] = Field(description="Every symbol that is collected here.")
    scheduler_alive: bool | None = Field(
        description="Whether scheduled runs are started; null if Dagster's storage cannot be read."
    )
    daemons: list[DaemonState] | None = Field(description="null if Dagster's storage cannot be read.")
    jobs: list[JobDocument] | None = Field(description="null if Dagster's storage cannot be read.")
