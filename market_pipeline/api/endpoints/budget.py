"""What is left of the request budget."""

from dataclasses import asdict
from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from market_pipeline.api.http.responses import not_cached
from market_pipeline.api.service import ServiceOf
from market_pipeline.budget.status import budget_status, status_sentence
from market_pipeline.core.clock import iso

router = APIRouter(tags=["state"])


class BudgetDocument(BaseModel):
    """The request budget that every process of this installation shares."""

    model_config = ConfigDict(json_schema_extra={"example": {
        "now": "2026-11-23T12:00:00.251Z", "requests_per_minute": 30, "left_this_minute": 29, "waiting": 0,
        "cool_down_until": "2026-11-23T12:00:41Z", "cool_down_reason": "HTTP 429", "monthly_credits": 10000,
        "credits_used": 6412, "credits_left": 3588, "reserve": 2145, "renews_at": "2026-12-01T00:00:00Z",
        "in_words": "29 of 30 requests are left this minute; no requests before 12:00:41 UTC (HTTP 429); "
        "3,588 of 10,000 credits are left until they renew on 2026-12-01 00:00 UTC; live ticks need 2,145 of "
        "them.",
    }})

    now: datetime = Field(description="The database's time, UTC.")
    requests_per_minute: int = Field(description="How many requests may be sent in any minute.")
    left_this_minute: int = Field(description="How many of them are left.")
    waiting: int = Field(description="Requests that wait for their turn.")
    cool_down_until: datetime | None = Field(description="No request is sent before, UTC; null without a pause.")
    cool_down_reason: str = Field(description="Why there is a pause; empty if there is none.")
    monthly_credits: int | None = Field(description="Credits of the month (UTC); null without a cap.")
    credits_used: int = Field(description="Credits used in this month; 0 without a cap.")
    credits_left: int | None = Field(description="Credits left in this month; null without a cap.")
    reserve: int = Field(description="How many of the credits left are reserved for live ticks.")
    renews_at: datetime = Field(description="When the credits renew, UTC.")
    in_words: str = Field(description="The same in a sentence.")


@router.get("/budget", summary="What is left of the request budget", response_model=BudgetDocument)
def budget(service: ServiceOf) -> Response:
    """Return what is left of the minute and of the month, and whether all requests pause."""
    status = budget_status(service.settings, service.database)
    values = {name: iso(value) if isinstance(value, datetime) else value for name, value in asdict(status).items()}
    return not_cached({**values, "in_words": status_sentence(status)})
