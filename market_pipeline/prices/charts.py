"""One request for the history of a coin, and what its answer proves about the time asked for."""

import re
from dataclasses import dataclass
from datetime import datetime

from market_pipeline.clock import iso
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import RequestRefused
from market_pipeline.coingecko.models import RawPoint, payload_text
from market_pipeline.prices.gaps import Interval

_NOT_FOUND = 404
# Any other 404 may be a wrong address, which proves nothing about a coin.
_UNKNOWN_COIN = re.compile("coin not found|could not find coin", re.IGNORECASE)


@dataclass(frozen=True)
class Chart:
    """The points of one answer, unjudged; `came` (aware UTC) is when it was there.

    `evidence` is a sentence about request and answer, for whoever wonders later why there is no price;
    None if the answer proves nothing about what the source has.
    """

    points: tuple[RawPoint, ...]
    came: datetime
    evidence: str | None


def ask_chart(client: CoinGeckoClient, coin_id: str, span: Interval) -> Chart:
    """Ask for the prices of a coin in `span` (whole seconds); raises CoinGeckoError without an answer.

    A 404 is an answer, and the same as a coin left out of current prices: one point without a price.
    """
    asked = f"Asked for {coin_id} from {iso(span.start)} to {iso(span.end)}"
    try:
        points = client.market_chart_range(coin_id, span.start, span.end)
    except RequestRefused as error:
        if error.status != _NOT_FOUND:
            raise
        came = client.clock()
        unknown = f"{asked} at {iso(came)}: CoinGecko does not know the coin."
        point = RawPoint(coin_id, None, None, payload_text(str(error)))
        return Chart((point,), came, unknown if _UNKNOWN_COIN.search(error.body) else None)
    came = client.clock()
    held = f"the answer held {len(points)} points, no acceptable price among them for this time."
    return Chart(points, came, f"{asked} at {iso(came)}: {held}")
