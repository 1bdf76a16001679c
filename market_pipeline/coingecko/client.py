"""The requests that this project sends to CoinGecko, as typed methods of a plain client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from market_pipeline import __version__
from market_pipeline.coingecko.batching import BatchedRequests, RequestLength
from market_pipeline.coingecko.errors import BadAnswer
from market_pipeline.coingecko.models import (
    KeyInfo,
    ListedCoin,
    PriceAnswer,
    RawPoint,
    chart_points,
    key_info,
    listed_coins,
    payload_text,
    price_points,
)
from market_pipeline.coingecko.request_budget import RequestBudget
from market_pipeline.coingecko.retries import RetryPolicy
from market_pipeline.core.clock import Clock, utc_now
from market_pipeline.logs import get_logger

if TYPE_CHECKING:
    from market_pipeline.settings import Plan

logger = get_logger(__name__)

# CoinGecko refuses requests whose User-Agent does not describe the program.
USER_AGENT = (
    f"market-pipeline/{__version__} (+scheduled price collection; contact: the operator of this address)"
)
_KEY_HEADERS = {"demo": "x-cg-demo-api-key", "pro": "x-cg-pro-api-key"}

# The history of the plans without payment.
_PUBLIC_REACH = timedelta(days=365)

# About a megabyte, which CoinGecko is slow to begin.
_LIST_TIMEOUT_SECONDS = 20.0

# The longest window is 90 days of hourly points: 2,160.
_MOST_POINTS = 5_000

_PRICE_PARAMS = {"vs_currencies": "usd", "precision": "full", "include_last_updated_at": "true"}


def reach_of(plan: Plan) -> timedelta | None:
    """Return how old the history of `plan` may be, None without a known limit."""
    return None if plan == "pro" else _PUBLIC_REACH


class CoinGeckoClient:
    """CoinGecko at `base_url` (with its path, e.g. https://api.coingecko.com/api/v3).

    Every method raises a CoinGeckoError if there is no usable answer. `clock` is the UTC time; `sleep` waits
    between the attempts that `policy` allows; `length` shares what refusals teach about the length of a
    request. Close the client after use, or use it in a `with` statement. Each thread needs its own client,
    while `budget` may be shared.
    """

    def __init__(
        self,
        base_url: str,
        plan: Plan,
        api_key: str | None,
        budget: RequestBudget,
        *,
        policy: RetryPolicy | None = None,
        length: RequestLength | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Clock = utc_now,
    ) -> None:
        # It brings requests (0.1 s), which loading the code location does not need.
        from market_pipeline.coingecko.transport import Transport

        headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **_key_header(plan, api_key)}
        self._batches = BatchedRequests(self._price_batch, base_url, length)
        self._transport = Transport(
            base_url, headers, api_key, budget, policy=policy or RetryPolicy(), sleep=sleep, clock=clock
        )
        self.clock = clock
        self.reach = reach_of(plan)

    def __enter__(self) -> CoinGeckoClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    @property
    def requests_sent(self) -> int:
        """HTTP requests sent so far, retries included."""
        return self._transport.requests_sent

    @property
    def clock_skew(self) -> float | None:
        """Seconds by which our clock was ahead of the server's at the last answer, to about a second.

        None if no answer came or the last one had no time.
        """
        return self._transport.last_skew

    def ping(self) -> None:
        """Check that the API can be reached with this key; it says nothing about fresh prices."""
        document = self._transport.get("/ping", {})
        if not isinstance(document, dict) or "gecko_says" not in document:
            raise self._wrong_shape("/ping", document, "an object with gecko_says")

    def key_info(self) -> KeyInfo:
        """Return the plan, limits and credits of the key; only the pro plan has them."""
        document = self._transport.get("/key", {})
        expected = "an object with the plan and its limits"
        if not isinstance(document, dict):
            raise self._wrong_shape("/key", document, expected)
        try:
            return key_info(document)
        except ValueError as error:
            raise self._wrong_shape("/key", document, f"{expected} ({error} is missing or no usable number)") from None

    def coins_list(self) -> tuple[ListedCoin, ...]:
        """Return all active coins, tens of thousands: about a megabyte in one request."""
        document = self._transport.get("/coins/list", {}, timeout=_LIST_TIMEOUT_SECONDS)
        coins = listed_coins(document) if isinstance(document, list) else ()
        if not coins:
            raise self._wrong_shape("/coins/list", document, "a list of coins with ids")
        return coins

    def simple_price(self, coin_ids: Iterable[str]) -> PriceAnswer:
        """Return the current US dollar price of each coin.

        One request names up to 250 coins in 6,000 characters of URL, fewer if the server refuses those.
        The coins of a failed request are in the `failures` of the answer; the error is raised if no request
        succeeded. A coin that CoinGecko omits becomes a point without a price; ids that were not requested
        never become points.
        """
        return self._batches.request(coin_ids)

    def market_chart_range(self, coin_id: str, start: datetime, end: datetime) -> tuple[RawPoint, ...]:
        """Return the US dollar prices of a coin from `start` to `end` (aware, whole seconds).

        CoinGecko chooses the spacing: hourly for 1 to 90 days in the past, daily beyond. The points are as
        the server sent them: out of order, doubled or outside the range. An empty tuple is an answer
        without prices: before the coin existed, or by mistake.
        """
        if not start < end:
            raise ValueError(f"the range of {coin_id} must end after it starts: {start} to {end}")
        endpoint = f"/coins/{quote(coin_id, safe='')}/market_chart/range"
        document = self._transport.get(endpoint, {
            "vs_currency": "usd",
            "from": str(int(start.timestamp())),
            "to": str(int(end.timestamp())),
            "precision": "full",
        })
        prices = document.get("prices") if isinstance(document, dict) else None
        if not isinstance(prices, list):
            raise self._wrong_shape(endpoint, document, "an object with a list of prices")
        if not prices:
            logger.warning("CoinGecko has no prices of %s from %s to %s", coin_id, start, end,
                           extra={"coin_id": coin_id})
        if len(prices) > _MOST_POINTS:
            raise self._wrong_shape(
                endpoint, document, f"a chart: it holds {len(prices):,} points, and no window has more than 2,160"
            )
        return chart_points(prices, coin_id)

    def _price_batch(self, coin_ids: tuple[str, ...]) -> PriceAnswer:
        document = self._transport.get("/simple/price", {"ids": ",".join(coin_ids), **_PRICE_PARAMS})
        if not isinstance(document, dict):
            raise self._wrong_shape("/simple/price", document, "an object keyed by coin id")
        answer = price_points(document, coin_ids)
        if answer.unasked:
            logger.warning(
                "CoinGecko answered for %s, which was not requested; those prices are ignored",
                ", ".join(answer.unasked),
            )
        return answer

    def _wrong_shape(self, endpoint: str, document: Any, expected: str) -> BadAnswer:
        return BadAnswer(
            f"the answer is not {expected}; check COINGECKO_BASE_URL.",
            endpoint=endpoint, attempts=self._transport.last_attempt, status=200, body=payload_text(document),
        )


def _key_header(plan: Plan, api_key: str | None) -> dict[str, str]:
    """Return the header with the key; raise a ValueError without the key in it if it does not fit `plan`."""
    if plan == "keyless":
        if api_key:
            raise ValueError("the keyless plan sends no API key; set the plan to demo or pro")
        return {}
    if not api_key:
        raise ValueError(f"the {plan} plan needs an API key")
    if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise ValueError("the API key holds a space or a character that cannot be sent in a header")
    return {_KEY_HEADERS[plan]: api_key}
