"""What the answers about the state of the service look like, for the OpenAPI document."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_EXAMPLE: dict[str, Any] = {
    "status": "degraded",
    "conditions": [{
        "kind": "scheduler-dead",
        "detail": "The scheduler is dead, its last heartbeat came 25 min ago: nothing collects prices; `make run` "
        "starts it.",
    }],
    "checked_at": "2026-11-23T12:26:00Z",
    "schema_revision": "0006",
    "symbols": [{"symbol": "BTC", "newest": "2026-11-23T12:00:00Z", "age_seconds": 1560.0, "fresh": False}],
    "scheduler_alive": False,
    "daemons": [{"daemon": "SCHEDULER", "heartbeat_age_seconds": 1500.0, "alive": False}],
}

Kind = Literal[
    "starting", "no-prices-yet", "never-scheduled", "scheduler-dead", "daemon-dead", "daemon-errors",
    "dagster-unreadable", "stale-prices", "tick-failed", "not-collected", "prices-refused", "quiet-market",
]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class ConditionDocument(BaseModel):
    """Something that is not as it should be."""

    kind: Kind = Field(description="Which one, for programs.")
    detail: str = Field(description="What it is and what to do, in a sentence or two.")


class SymbolFreshness(BaseModel):
    """How old the newest stored price of a symbol is."""

    symbol: str = Field(description="The symbol in upper case.")
    newest: datetime | None = Field(description="Time of the newest price at the source, UTC; null if there is none.")
    age_seconds: float | None = Field(ge=0, description="Seconds since then; null if there is none.")
    fresh: bool = Field(description="Whether it is from the last tick but one (COLLECT_CRON) or later.")


class DaemonState(BaseModel):
    """A daemon of Dagster that has to run."""

    daemon: str = Field(description="Dagster's name of it; SCHEDULER starts the ticks.")
    heartbeat_age_seconds: float | None = Field(
        ge=0, description="Seconds since it last reported; null if it never did."
    )
    alive: bool = Field(description="Whether that is recent enough.")


class Readiness(BaseModel):
    """Whether prices are fresh and somebody collects them."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    status: Literal["ready", "degraded"] = Field(description="degraded if there is any condition.")
    conditions: list[ConditionDocument] = Field(description="What is not as it should be; empty if all is well.")
    checked_at: datetime = Field(description="When this was looked at, UTC.")
    schema_revision: str = Field(description="The revision of the tables, which is that of this version.")
    symbols: list[SymbolFreshness] = Field(description="Every symbol that is collected here.")
    scheduler_alive: bool | None = Field(
        description="Whether scheduled runs are started; null if Dagster's storage cannot be read."
    )
    daemons: list[DaemonState] | None = Field(description="null if Dagster's storage cannot be read.")
