"""Send GET requests: one session, a grant of the budget before each attempt, bounded time and size.

`answers` decides what an answer means, `retries` whether a request is repeated, `client` which requests
exist.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.auth import AuthBase
from urllib3.exceptions import HeaderParsingError

from market_pipeline.coingecko.answers import HttpAnswer, read_answer, server_time
from market_pipeline.coingecko.deadline import Deadline, DeadlineAdapter
from market_pipeline.coingecko.errors import (
    BadAnswer,
    CoinGeckoError,
    DeadlineExceeded,
    Misconfigured,
    Unreachable,
)
from market_pipeline.coingecko.network_errors import ca_setting, network_error
from market_pipeline.coingecko.request_budget import NO_ANSWER, NOT_SENT, RequestBudget
from market_pipeline.coingecko.retries import RetryPolicy, cool_down_after, with_retries
from market_pipeline.core.clock import Clock
from market_pipeline.logs import get_logger

logger = get_logger(__name__)

# The largest answer is /coins/list, about 1.5 MB for 20,000 coins. A chart of 90 days has 0.25 MB.
LARGEST_BODY = 4 * 1024 * 1024


class Transport:
    """GET requests below `base_url`, each sent with `headers`. One thread at a time.

    `secret` is removed from every body and from the reasons of failed connections, so that a server that repeats it
    cannot put it into an error or a stored payload. `requests_sent` counts all attempts, `last_attempt` the attempts of
    the last call. `last_skew` is by how many seconds our clock was ahead of the server's at the last answer, None if
    that named no time.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        secret: str | None,
        budget: RequestBudget,
        *,
        policy: RetryPolicy,
        sleep: Callable[[float], None],
        clock: Clock,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._secret = secret
        self._budget = budget
        self._policy = policy
        self._sleep = sleep
        self._clock = clock
        self._left = policy.call
        self._session = _session_for(base_url, headers)
        self.requests_sent = 0
        self.last_attempt = 0
        self.last_skew: float | None = None

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def get(self, endpoint: str, params: Mapping[str, str], timeout: float | None = None) -> Any:
        """Return the JSON document at `endpoint`; raise a CoinGeckoError after the last retry.

        `timeout` replaces the policy's `idle` seconds for each read.
        """
        self._left = self._policy.call
        return with_retries(
            lambda number: self._attempt(endpoint, params, number, timeout or self._policy.idle),
            self._policy,
            self._sleep,
            may_repeat=lambda: self._left >= self._policy.idle,
        )

    def _attempt(self, endpoint: str, params: Mapping[str, str], number: int, timeout: float) -> Any:
        grant = self._budget.acquire(endpoint)
        self.requests_sent += 1
        self.last_attempt = number
        started = time.monotonic()
        status: int | None = None
        without_status = NO_ANSWER
        cool_down: tuple[float | None, str] = (None, "")
        try:
            answer = self._send(endpoint, params, number, timeout)
            status = answer.status
            return read_answer(answer)
        except CoinGeckoError as error:
            status, cool_down = error.status, cool_down_after(error)
            if isinstance(error, (Unreachable, Misconfigured)):
                without_status = NOT_SENT
            raise
        finally:
            seconds = time.monotonic() - started
            self._left -= seconds
            milliseconds = round(seconds * 1000)
            logger.info(
                "GET %s: %s in %d ms (attempt %d)",
                endpoint, without_status if status is None else f"status {status}", milliseconds, number,
                extra={"endpoint": endpoint, "status_code": status, "duration_ms": milliseconds, "attempt": number},
            )
            self._budget.settle(grant, without_status if status is None else str(status), *cool_down)

    def _send(self, endpoint: str, params: Mapping[str, str], number: int, timeout: float) -> HttpAnswer:
        deadline = Deadline(min(self._policy.attempt, self._left))
        failure: CoinGeckoError | None = None
        try:
            with deadline:
                answer = self._exchange(endpoint, params, number, timeout)
        except (OSError, urllib3.exceptions.HTTPError) as error:
            failure = network_error(error, self._base_url, endpoint, number, self._secret)
        # After the shutdown a body that ends with its connection looks complete.
        if deadline.passed and not isinstance(failure, (Unreachable, Misconfigured)):
            raise DeadlineExceeded(
                f"the answer was not complete after {deadline.seconds:.0f} s; check the network and "
                "COINGECKO_BASE_URL. The next run tries again.",
                endpoint=endpoint, attempts=number,
            )
        if failure:
            raise failure
        return answer

    def _exchange(self, endpoint: str, params: Mapping[str, str], number: int, timeout: float) -> HttpAnswer:
        with self._session.get(
            self._base_url + endpoint,
            params=params,
            timeout=(self._policy.idle, timeout),
            allow_redirects=False,
            stream=True,
        ) as response:
            sent_at = server_time(response.headers)
            self.last_skew = (self._clock() - sent_at).total_seconds() if sent_at else None
            body = _read_body(response, endpoint, number)
        return HttpAnswer(
            endpoint, number, response.status_code, response.headers, body, self._clock(), self._secret
        )


class _Session(requests.Session):
    """A session that ignores where a redirect leads.

    The library would first read the whole body, however large, and then that address, which can fail.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class _NoCredentials(AuthBase):
    """Keeps requests from adding the credentials that a .netrc file has for this host."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def _session_for(base_url: str, headers: Mapping[str, str]) -> requests.Session:
    """Return a session for addresses below `base_url` that sends `headers` with every request."""
    session = _Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter())
    session.auth = _NoCredentials()
    # The environment's proxy is on another machine, where loopback means that machine.
    session.trust_env = urlsplit(base_url).hostname not in ("127.0.0.1", "localhost", "::1")
    if not session.trust_env and (authorities := ca_setting()):
        session.verify = authorities[1]
    session.headers.update(headers)
    return session


def _read_body(response: requests.Response, endpoint: str, number: int) -> bytes:
    """Read the body as it arrives, so that its size is bounded."""
    body = bytearray()
    while part := response.raw.read1(65_536, decode_content=True):
        body += part
        if len(body) > LARGEST_BODY:
            raise BadAnswer(
                f"the answer is larger than {LARGEST_BODY} bytes; check COINGECKO_BASE_URL.",
                endpoint=endpoint, attempts=number, status=response.status_code,
            )
    return bytes(body)


def _quotes_no_headers(record: logging.LogRecord) -> bool:
    """Drop the warning in which urllib3 quotes headers that it cannot read: they may repeat the key."""
    return not (record.exc_info and isinstance(record.exc_info[1], HeaderParsingError))


logging.getLogger("urllib3.connection").addFilter(_quotes_no_headers)
