"""One request for the history of a coin, and what is known of its answer."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from market_pipeline.clock import iso
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import RequestRefused
from market_pipeline.coingecko.models import RawPoint, payload_text
from market_pipeline.prices.gaps import PUBLISHING, Interval

_NOT_FOUND = 404
# Any other 404 may be a wrong address, which proves nothing about a coin.
_UNKNOWN_COIN = re.compile("coin not found|could not find coin", re.IGNORECASE)


@dataclass(frozen=True)
class Chart:
    """The points of one answer, unjudged; `came` (aware UTC) is when it arrived.

    `until` is the source's clock then. `evidence` describes request and answer in a sentence; None if the answer
    says nothing about the coin.
    """

    points: tuple[RawPoint, ...]
    came: datetime
    until: datetime
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
        unknown = f"{asked} at {iso(came.replace(microsecond=0))}: CoinGecko does not know the coin."
        point = RawPoint(coin_id, None, None, payload_text(str(error)))
        return Chart((point,), came, came, unknown if _UNKNOWN_COIN.search(error.body) else None)
    came = client.clock()
    held = f"the answer held {len(points)} points, no acceptable price among them for this time."
    return Chart(points, came, _source_clock(client, came), f"{asked} at {iso(came.replace(microsecond=0))}: {held}")


def _source_clock(client: CoinGeckoClient, came: datetime) -> datetime:
    """The server's time of the last answer; where it named none, ours less the time that publishing takes."""
    skew = client.clock_skew
    return came - PUBLISHING if skew is None else (came - timedelta(seconds=skew)).replace(microsecond=0)
