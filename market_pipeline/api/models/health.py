"""What the answers about the state of the service look like, for the OpenAPI document."""

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
    """Something that is not as it should be."""

    kind: Kind = Field(description="Which one, for programs.")
    detail: str = Field(description="What it is, since when, and what to do, in a few sentences.")
    since: datetime | None = Field(description="When this link last held, UTC; null if that is not known.")


class SymbolFreshness(BaseModel):
    """How old the newest stored price and the newest score of a symbol are."""

    symbol: str = Field(description="The symbol in upper case.")
    newest: datetime | None = Field(description="Time of the newest price at the source, UTC; null if there is none.")
    age_seconds: float | None = Field(ge=0, description="Seconds since then; null if there is none.")
    fresh: bool = Field(description="Whether it is from the last tick but one (COLLECT_CRON) or later.")
    scored: datetime | None = Field(
        description="Time of the newest price that anomalies were looked for in, UTC; null if there is none."
    )
    scored_age_seconds: float | None = Field(ge=0, description="Seconds since then; null if there is none.")
    scores_fresh: bool = Field(description="Whether no fresh price has waited to be scored for two ticks.")


class DaemonState(BaseModel):
    """A daemon of Dagster that has to run."""

    daemon: str = Field(description="Dagster's name of it; SCHEDULER starts the ticks.")
    heartbeat_age_seconds: float | None = Field(
        ge=0, description="Seconds since it last reported; null if it never did."
    )
    alive: bool = Field(description="Whether that is recent enough.")


class JobDocument(BaseModel):
    """How the runs of a job end."""

    job: str = Field(description="tick collects and scores current prices; the others are beside it.")
    last_success: datetime | None = Field(description="When a run last succeeded, UTC; null if none did.")
    last_success_age_seconds: float | None = Field(ge=0, description="Seconds since then; null if none did.")
    last_failure: datetime | None = Field(
        description="When the last run that ended failed, UTC; null if it succeeded or was stopped by hand."
    )


class Readiness(BaseModel):
    """Whether prices are collected and scored as they should be."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    status: Literal["ready", "degraded", "unknown"] = Field(
        description="degraded if anything is not as it should be, unknown if Dagster's side cannot be seen from here."
    )
    conditions: list[ConditionDocument] = Field(description="What is not as it should be; empty if all is well.")
    checked_at: datetime = Field(description="When this was looked at, UTC.")
    schema_revision: str = Field(description="The revision of the tables, which is that of this version.")
    symbols: list[SymbolFreshness] = Field(description="Every symbol that is collected here.")
    scheduler_alive: bool | None = Field(
        description="Whether scheduled runs are started; null if Dagster's storage cannot be read."
    )
    daemons: list[DaemonState] | None = Field(description="null if Dagster's storage cannot be read.")
    jobs: list[JobDocument] | None = Field(description="null if Dagster's storage cannot be read.")
