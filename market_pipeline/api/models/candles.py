"""The documents of candles."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from market_pipeline.api.models.formats import table_formats

_CANDLE: dict[str, Any] = {
    "opened_at": "2026-11-23T12:00:00Z", "open": 67187.33589, "high": 67240.5, "low": 67101.2, "close": 67230.11,
    "quotes": 12,
}


class Candle(BaseModel):
    """What the quotes of one interval say; bad ticks do not count."""

    opened_at: datetime = Field(description="When the interval begins, UTC: a multiple of it since 1970.")
    open: float = Field(gt=0, description="First price, US dollars.")
    high: float = Field(gt=0, description="Highest price, US dollars.")
    low: float = Field(gt=0, description="Lowest price, US dollars.")
    close: float = Field(gt=0, description="Last price, US dollars; the last so far while the interval goes on.")
    quotes: int = Field(ge=1, description="Number of quotes that the candle is made of.")


class CandlePage(BaseModel):
    """Candles of a symbol, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "symbol": "BTC", "interval": "1h", "candles": [_CANDLE], "next_cursor": "WzE3OTM0OTExNDAwMDAwMDBd",
            }
        }
    )

    symbol: str = Field(description="The symbol in upper case.")
    interval: str = Field(description="The interval of the request.")
    candles: list[Candle]
    next_cursor: str | None = Field(description="Where the next page begins; null on the last one.")


CANDLE_FORMATS = table_formats(
    "The candles, in the format that `Accept` prefers.", _CANDLE,
    "opened_at as timestamp[us, UTC], open, high, low and close as double, quotes as int64.",
)
