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
from market_pipeline.coingecko.retries import LONGEST_WAIT_SECONDS, RETRIES, TIME_LIMITS, TimeLimits
from market_pipeline.coingecko.transport import Transport
from market_pipeline.core.clock import Clock, utc_now
from market_pipeline.logs import get_logger

if TYPE_CHECKING:
    from market_pipeline.settings import Plan


# CoinGecko refuses requests whose User-Agent does not describe the program.
USER_AGENT = (
    f"market-pipeline/{__version__} (+scheduled price collection; contact: the operator of this address)"
)

_KEY_HEADERS = {"demo": "x-cg-demo-api-key", "pro": "x-cg-pro-api-key"}


def request_headers(plan: Plan, api_key: str | None) -> dict[str, str]:
    """The headers of a request on `plan`; ValueError, never with the key in it, if they do not belong
    together."""
    return {"User-Agent": USER_AGENT, "Accept": "application/json", **_key_header(plan, api_key)}


def _key_header(plan: Plan, api_key: str | None) -> dict[str, str]:
    if plan == "keyless":
        if api_key:
            raise ValueError("the keyless plan sends no API key; set the plan to demo or pro")
        return {}
    if not api_key:
        raise ValueError(f"the {plan} plan needs an API key")
    if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise ValueError("the API key holds a space or a character that cannot travel in a header")
    return {_KEY_HEADERS[plan]: api_key}


logger = get_logger(__name__)

# How far back the plans without payment see.
_PUBLIC_REACH = timedelta(days=365)

# About a megabyte, which CoinGecko takes its time to begin.
_LIST_TIMEOUT_SECONDS = 20.0

# The longest window is 90 days of hourly points: 2,160.
_MOST_POINTS = 5_000

_PRICE_PARAMS = {"vs_currencies": "usd", "precision": "full", "include_last_updated_at": "true"}


def reach_of(plan: Plan) -> timedelta | None:
    """How old the history of `plan` may be, None where no limit is known."""
    return None if plan == "pro" else _PUBLIC_REACH


class CoinGeckoClient:
    """CoinGecko at `base_url` (with its path, e.g. https://api.coingecko.com/api/v3).

    Every method raises a CoinGeckoError if no usable answer came. `clock` tells the UTC time,
    `sleep` waits between the attempts of a request, of which there are `retries` after the first,
    none if the server asks to wait more than `longest_wait` seconds; `limits` bound the time of each
    call. `reach` is how old the history of this plan may be (None where no limit is known). Close it
    after use or use it in a `with` statement; each thread needs a client of its own, while `budget`
    may be shared.
    """

    def __init__(
        self,
        base_url: str,
        plan: Plan,
        api_key: str | None,
        budget: RequestBudget,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Clock = utc_now,
        retries: int = RETRIES,
        longest_wait: float = LONGEST_WAIT_SECONDS,
        limits: TimeLimits = TIME_LIMITS,
        length: RequestLength | None = None,
    ) -> None:
        headers = request_headers(plan, api_key)
        self._portions = BatchedRequests(self._price_batch, base_url, length)
        self._transport = Transport(
            base_url, headers, api_key, budget,
            sleep=sleep, clock=clock, retries=retries, longest_wait=longest_wait, limits=limits,
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
        """Give the connections back."""
        self._transport.close()

    @property
    def requests_sent(self) -> int:
        """HTTP requests sent so far, retries included."""
        return self._transport.requests_sent

    @property
    def clock_skew(self) -> float | None:
        """Seconds by which our clock is ahead of the server's, to about a second, by the last answer;
        None if none came or it named no time."""
        return self._transport.last_skew

    def ping(self) -> None:
        """Ask whether the API can be reached with this key; it says nothing about fresh prices."""
        document = self._transport.get("/ping", {})
        if not isinstance(document, dict) or "gecko_says" not in document:
            raise self._wrong_shape("/ping", document, "an object with gecko_says")

    def key_info(self) -> KeyInfo:
        """The plan, limits and credits of the key. On the plans other than pro CoinGecko refuses it."""
        document = self._transport.get("/key", {})
        expected = "an object with the plan and its limits"
        if not isinstance(document, dict):
            raise self._wrong_shape("/key", document, expected)
        try:
            return key_info(document)
        except ValueError as error:
            raise self._wrong_shape("/key", document, f"{expected} ({error} is missing or no usable number)") from None

    def coins_list(self) -> tuple[ListedCoin, ...]:
        """All active coins, tens of thousands; about a megabyte in one request."""
        document = self._transport.get("/coins/list", {}, timeout=_LIST_TIMEOUT_SECONDS)
        coins = listed_coins(document) if isinstance(document, list) else ()
        if not coins:
            raise self._wrong_shape("/coins/list", document, "a list of coins with ids")
        return coins

    def simple_price(self, coin_ids: Iterable[str]) -> PriceAnswer:
        """The current US dollar price of each coin, in one request for each 250 coins or 6,000
        characters of URL, or in shorter ones where the server refuses those.

        If a request fails, its coins are in the `failures` of the answer; the error is raised if
        nothing came at all. A coin that CoinGecko leaves out becomes a point without price. Ids that
        nobody asked for never become points.
        """
        return self._portions.ask(coin_ids)

    def market_chart_range(self, coin_id: str, start: datetime, end: datetime) -> tuple[RawPoint, ...]:
        """The US dollar prices of a coin from `start` to `end` (aware, whole seconds).

        CoinGecko picks the spacing: hourly for 1 to 90 days in the past, daily beyond. The points
        come as the server sent them: out of order, doubled or outside the range. An empty tuple is
        an answer without prices: before the coin existed, or by mistake.
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
                "CoinGecko answered for %s, which nobody asked for; those prices are ignored",
                ", ".join(answer.unasked),
            )
        return answer

    def _wrong_shape(self, endpoint: str, document: Any, expected: str) -> BadAnswer:
        return BadAnswer(
            f"the answer is not {expected}; check COINGECKO_BASE_URL.",
            endpoint=endpoint, attempts=self._transport.last_attempt, status=200, body=payload_text(document),
        )
