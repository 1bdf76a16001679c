"""Whether and when to repeat a request. The only place in the project that does so."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from market_pipeline.coingecko.answers import STILL_LIMITED, is_sane
from market_pipeline.coingecko.errors import Banned, BudgetExhausted, CoinGeckoError, RateLimited, TransientError
from market_pipeline.logs import get_logger

logger = get_logger(__name__)

# Every per-minute limit renews within this time.
LIMIT_SECONDS = 60.0
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

# A block by Cloudflare lasts about so long, and longer if requests continue.
BAN_SECONDS = 3_600.0


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is repeated and how long it may take; times are seconds.

    If the server asks to wait longer than `longest_wait`, the call gives up: the next run tries again. `idle` bounds
    each connect and each read, `attempt` one request from name resolution to the last byte, `call` all attempts of a
    call without the pauses between them. An attempt is not repeated when less than `idle` is left of `call`.
    """

    retries: int = 3
    longest_wait: float = 120.0
    idle: float = 5.0
    attempt: float = 30.0
    call: float = 35.0


Result = TypeVar("Result")


def with_retries(
    attempt: Callable[[int], Result],
    policy: RetryPolicy,
    sleep: Callable[[float], None],
    may_repeat: Callable[[], bool] = lambda: True,
) -> Result:
    """Return the result of `attempt(number)`, repeated while `policy` and `may_repeat()` allow it.

    A RateLimited is repeated, and so is a TransientError without a status (no complete answer) or with one of
    `RETRIED_STATUSES`: after 0.5 s, 1 s and 2 s, each +-0.2 s, or after the pause that the server requests if that is
    longer; the budget's pause is over by then. A 429 after a minute of such pauses is final: the month's credits may be
    used up. If the budget runs out between two attempts, its error names the failure of the previous attempt.
    """
    limited = 0.0
    previous: CoinGeckoError | None = None
    number = 0
    while True:
        number += 1
        try:
            return attempt(number)
        except BudgetExhausted as error:
            if previous is None:
                raise
            raise error.with_verdict(f"{error.verdict} It was to be sent again: {previous}") from None
        except TransientError as error:
            if isinstance(error, RateLimited) and limited >= LIMIT_SECONDS:
                raise error.with_verdict(STILL_LIMITED) from None
            requested = error.retry_after or 0.0
            exhausted = number > policy.retries or requested > policy.longest_wait
            if exhausted or not _is_retried(error) or not may_repeat():
                raise
            pause = max(requested, _backoff(number))
            limited += pause if isinstance(error, RateLimited) else 0.0
            logger.warning("Repeating in %.1f s: %s", pause, error)
            previous = error
        sleep(pause)


def cool_down_after(error: CoinGeckoError) -> tuple[float | None, str]:
    """Return the seconds for which every process pauses after `error`, None without a pause, and the reason.

    The server's own number takes precedence over ours.
    """
    what = f"GET {error.endpoint} answered {error.status}"
    if isinstance(error, Banned):
        blocked = f"{what}: Cloudflare has blocked this address"
        if is_sane(error.retry_after):
            return error.retry_after, f"{blocked} and asked to wait {error.retry_after:.0f} s"
        return BAN_SECONDS, f"{blocked} for an unknown time; our rule is an hour"
    if error.retry_after:
        return error.retry_after, f"{what} and the server asked to wait {error.retry_after:.0f} s"
    return None, ""


def _is_retried(error: TransientError) -> bool:
    # A rate limit may arrive under status 200.
    return isinstance(error, RateLimited) or error.status is None or error.status in RETRIED_STATUSES


def _backoff(number: int) -> float:
    return min(5.0, 0.5 * 2.0 ** (number - 1)) + random.uniform(-0.2, 0.2)
