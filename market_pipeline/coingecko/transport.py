"""Sending GET requests: one session, the budget before each attempt, bounded time and size.

What an answer means is decided in `answers`, whether to ask again in `retries`; which requests exist
is the client's business.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.auth import AuthBase

from market_pipeline.coingecko.answers import Answer, read_answer, server_time
from market_pipeline.coingecko.connection import ca_setting, connection_error
from market_pipeline.coingecko.deadline import Deadline, DeadlineAdapter
from market_pipeline.coingecko.errors import BadAnswer, CoinGeckoError, Endless, Unreachable, Unsendable
from market_pipeline.coingecko.request_budget import NO_ANSWER, NOT_SENT, RequestBudget
from market_pipeline.coingecko.retries import (
    LONGEST_WAIT_SECONDS,
    RETRIES,
    TIME_LIMITS,
    TimeLimits,
    asked_pause,
    with_retries,
)
from market_pipeline.core.clock import Clock
from market_pipeline.logs import get_logger


def session_for(base_url: str, headers: Mapping[str, str]) -> requests.Session:
    """A session for addresses below `base_url` that sends `headers` with every request."""
    session = _Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter())
    session.auth = _NoCredentials()
    # The proxy of the environment leads out of this machine, where loopback is someone else.
    session.trust_env = urlsplit(base_url).hostname not in ("127.0.0.1", "localhost", "::1")
    if not session.trust_env and (authorities := ca_setting()):
        session.verify = authorities[1]
    session.headers.update(headers)
    return session


class _Session(requests.Session):
    """A session that does not even look where a redirect leads: reading that address can fail, and on
    the way there the library reads the whole body, however large."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class _NoCredentials(AuthBase):
    """Keeps requests from adding what a .netrc file says about this host."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


logger = get_logger(__name__)

# The largest answer is /coins/list, about 1.5 MB for 20,000 coins. A chart of 90 days has 0.25 MB.
LARGEST_BODY = 4 * 1024 * 1024


class Transport:
    """GET requests below `base_url`, each sent with `headers`. Not to be shared between threads.

    `secret` is blanked out of every body and of the reason why a connection failed, so that a server
    that echoes it cannot put it into an error or a stored payload. `requests_sent` counts every
    attempt, `last_attempt` those of the last call, and `last_skew` is how many seconds our clock was
    ahead of the server's when the last answer came (None if it did not tell its time).
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        secret: str | None,
        budget: RequestBudget,
        *,
        sleep: Callable[[float], None],
        clock: Clock,
        retries: int = RETRIES,
        longest_wait: float = LONGEST_WAIT_SECONDS,
        limits: TimeLimits = TIME_LIMITS,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._secret = secret
        self._budget = budget
        self._sleep = sleep
        self._clock = clock
        self._retries = retries
        self._longest_wait = longest_wait
        self._limits = limits
        self._left = limits.call
        self._session = session_for(base_url, headers)
        self.requests_sent = 0
        self.last_attempt = 0
        self.last_skew: float | None = None

    def close(self) -> None:
        self._session.close()

    def get(self, endpoint: str, params: Mapping[str, str], timeout: float | None = None) -> Any:
        """The JSON document at `endpoint`; raises a CoinGeckoError after the last retry.

        `timeout` is how many seconds each read may take, where `TimeLimits.idle` are too few.
        """
        self._left = self._limits.call
        return with_retries(
            lambda number: self._attempt(endpoint, params, number, timeout or self._limits.idle),
            self._sleep,
            self._retries,
            self._longest_wait,
            may_repeat=lambda: self._left >= self._limits.idle,
        )

    def _attempt(self, endpoint: str, params: Mapping[str, str], number: int, timeout: float) -> Any:
        grant = self._budget.acquire(endpoint)
        self.requests_sent += 1
        self.last_attempt = number
        started = time.monotonic()
        status: int | None = None
        silence = NO_ANSWER
        pause: tuple[float | None, str] = (None, "")
        try:
            answer = self._send(endpoint, params, number, timeout)
            status = answer.status
            return read_answer(answer)
        except CoinGeckoError as error:
            status, pause = error.status, asked_pause(error)
            if isinstance(error, (Unreachable, Unsendable)):
                silence = NOT_SENT
            raise
        finally:
            taken = time.monotonic() - started
            self._left -= taken
            duration = round(taken * 1000)
            logger.info(
                "GET %s: %s in %d ms (attempt %d)",
                endpoint, silence if status is None else f"status {status}", duration, number,
                extra={"endpoint": endpoint, "status_code": status, "duration_ms": duration,
                       "attempt": number},
            )
            self._budget.settle(grant, silence if status is None else str(status), *pause)

    def _send(self, endpoint: str, params: Mapping[str, str], number: int, timeout: float) -> Answer:
        deadline = Deadline(min(self._limits.attempt, self._left))
        failure: CoinGeckoError | None = None
        try:
            with deadline:
                answer = self._exchange(endpoint, params, number, timeout)
        except (OSError, urllib3.exceptions.HTTPError) as error:
            failure = connection_error(error, self._base_url, endpoint, number, self._secret)
        # A body that ends with its connection looks complete after the shutdown.
        if deadline.passed and not isinstance(failure, (Unreachable, Unsendable)):
            raise Endless(
                f"the answer was not complete after {deadline.seconds:.0f} s; check the network and "
                "COINGECKO_BASE_URL. The next run asks again.",
                endpoint=endpoint, attempts=number,
            )
        if failure:
            raise failure
        return answer

    def _exchange(self, endpoint: str, params: Mapping[str, str], number: int, timeout: float) -> Answer:
        with self._session.get(
            self._base_url + endpoint,
            params=params,
            timeout=(self._limits.idle, timeout),
            allow_redirects=False,
            stream=True,
        ) as response:
            sent_at = server_time(response.headers)
            self.last_skew = (self._clock() - sent_at).total_seconds() if sent_at else None
            body = _read_body(response, endpoint, number)
        return Answer(
            endpoint, number, response.status_code, response.headers, body, self._clock(), self._secret
        )


def _read_body(response: requests.Response, endpoint: str, number: int) -> bytes:
    """The whole body, read as it arrives so that its size is bounded."""
    body = bytearray()
    while part := response.raw.read1(65_536, decode_content=True):
        body += part
        if len(body) > LARGEST_BODY:
            raise BadAnswer(
                f"the answer is larger than {LARGEST_BODY} bytes; check COINGECKO_BASE_URL.",
                endpoint=endpoint, attempts=number, status=response.status_code,
            )
    return bytes(body)
