"""The documents of symbols and their coverage."""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_LARGEST_GAP = "Longest time within one of the days (UTC, midnight to midnight) without a point, seconds"


class PastMonth(BaseModel):
    """How complete the past days of a symbol are, of the last 30 and not before its first point."""

    days: int = Field(description="Measured days: those whose history the source has published, at most 30.")
    complete_days: int = Field(description="How many of them have every price that the source has.")
    largest_gap_seconds: float | None = Field(description=f"{_LARGEST_GAP}; null where no day is measured.")


class SymbolDocument(BaseModel):
    """A coin that is collected here."""

    symbol: str = Field(description="Upper-case symbol.")
    coin_id: str = Field(
        description="CoinGecko's id of the coin; `simulated:` before it where prices come from a simulator."
    )
    name: str | None = Field(
        description="CoinGecko's name of the coin; null until the first run of past days, which reads it once a day."
    )
    first: datetime | None = Field(description="Time of its first stored price, UTC; null if there is none.")
    last: datetime | None = Field(description="Time of its newest stored price, UTC; null if there is none.")
    change_24h: float | None = Field(
        description="The newest price over the one nearest to 24 hours before it, less 1: 0.05 is +5%. Null if the "
        "newest is over a day old, or there is none within an hour of 24 hours before it. Bad ticks do not count."
    )
    last_30_days: PastMonth


_EXAMPLE: dict[str, Any] = {
    "symbol": "BTC", "coin_id": "bitcoin", "name": "Bitcoin", "first": "2026-01-01T00:00:12Z",
    "last": "2026-11-23T12:00:00Z", "change_24h": 0.0123,
    "last_30_days": {"days": 30, "complete_days": 29, "largest_gap_seconds": 10800.0},
}


class SymbolList(BaseModel):
    """The coins that are collected here, in the order of MARKET_SYMBOLS."""

    model_config = ConfigDict(json_schema_extra={"example": {"symbols": [_EXAMPLE]}})

    symbols: list[SymbolDocument]


class DayDocument(BaseModel):
    """What is stored of one UTC day."""

    day: date
    points: int = Field(description="Stored prices of the day.")
    expected: int = Field(description="Points that the day's history has at the source: one an hour.")
    largest_gap_seconds: float = Field(description=f"{_LARGEST_GAP}.")
    complete: bool | None = Field(
        description="Whether it has every price that the source has; null while the source still publishes it."
    )


class SourceGap(BaseModel):
    """A stretch of time for which the source returned no prices."""

    start: datetime = Field(description="First instant without a price, UTC.")
    end: datetime = Field(description="When prices begin again, UTC.")
    evidence: str = Field(description="The request and what its answer held.")
    found_at: datetime = Field(description="When the source was last queried, UTC.")
    first_found_at: datetime = Field(description="When it first returned no prices, UTC.")
    proven: bool = Field(
        description="Whether the answer covered the time; if not, the days lack prices that may still arrive."
    )
    ask_again_at: datetime | None = Field(description="When it will be queried again, UTC; null for at once.")


_DAY: dict[str, Any] = {
    "day": "2026-11-22", "points": 288, "expected": 24, "largest_gap_seconds": 342.5, "complete": True,
}


class CoverageDocument(BaseModel):
    """How complete the history of a symbol is, day by day."""

    model_config = ConfigDict(json_schema_extra={"example": {
        "symbol": "BTC", "from": "2026-11-22", "to": "2026-11-22", "days": [_DAY], "incomplete_days": [],
        "source_gaps": [], "next_to": "2026-11-21",
    }})

    symbol: str = Field(description="The symbol in upper case.")
    from_: date = Field(alias="from", description="First day of this answer.")
    to: date = Field(description="Last day of this answer.")
    days: list[DayDocument] = Field(description="Every day of the answer, the newest first.")
    incomplete_days: list[date] = Field(description="The days that lack prices which the source may have.")
    source_gaps: list[SourceGap] = Field(description="Stretches for which the source returned no prices, by time.")
    next_to: date | None = Field(
        description="`to` of the next answer, if more days were requested than one answer has."
    )
