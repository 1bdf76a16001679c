"""The documents of prices."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from market_pipeline.api.models.formats import table_formats
from market_pipeline.prices.quotes import Quality, Source

_POINT: dict[str, Any] = {
    "timestamp": "2026-11-23T12:00:00Z", "price": 67187.33589, "source": Source.LIVE.value,
    "ingested_at": "2026-11-23T12:00:21.402113Z", "quality": Quality.OK.value,
}

_CURSOR = "WzE3OTM0OTExNDAwMDAwMDBd"


class PricePoint(BaseModel):
    """A stored price."""

    timestamp: datetime = Field(description="When the price was true at the source, UTC.")
    price: float = Field(gt=0, description="Price of one coin in US dollars; round-trips as a 64-bit float.")
    source: Source = Field(description="The endpoint of CoinGecko that returned it.")
    ingested_at: datetime = Field(description="When this price was first stored, UTC.")
    quality: Quality = Field(
        description="`bad_tick` if later quotes have reverted this price, which is then never the latest; else `ok`."
    )


class PricePage(BaseModel):
    """Prices of a symbol, newest first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"symbol": "BTC", "points": [_POINT], "next_cursor": _CURSOR}}
    )

    symbol: str = Field(description="The symbol in upper case.")
    points: list[PricePoint]
    next_cursor: str | None = Field(description="Where the next page begins; null on the last one.")


class LatestPrice(PricePoint):
    """The newest stored price of a symbol."""

    model_config = ConfigDict(json_schema_extra={"example": {"symbol": "BTC", **_POINT}})

    symbol: str = Field(description="The symbol in upper case.")


PAGE_FORMATS = table_formats(
    "The prices, in the format that `Accept` prefers.", _POINT,
    "timestamp and ingested_at as timestamp[us, UTC], price as double, source and quality as string.",
)
