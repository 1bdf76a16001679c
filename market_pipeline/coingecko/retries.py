"""Whether and when to ask again. The only place of the project that repeats a request."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential, wait_random

from market_pipeline.coingecko.answers import STILL_LIMITED, is_sane
from market_pipeline.coingecko.errors import Banned, BudgetExhausted, CoinGeckoError, RateLimited, TransientError
from market_pipeline.logs import get_logger

logger = get_logger(__name__)

RETRIES = 3
# A run that waits longer than this for one answer is worth less than the next run.
LONGEST_WAIT_SECONDS = 120.0
# Every limit by the minute starts anew within this time.
LIMIT_SECONDS = 60.0
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

# A block by Cloudflare lasts about so long, and longer for whoever keeps asking.
BAN_SECONDS = 3_600.0


@dataclass(frozen=True)
class TimeLimits:
    """Seconds: `idle` for each connect and each read, `attempt` for one request from resolving the name
    to the last byte, and `call` for all attempts of a call, not counting the pauses between them.

    An attempt is not repeated when less than `idle` is left of `call`.
    """

    idle: float = 5.0
    attempt: float = 30.0
    call: float = 35.0


TIME_LIMITS = TimeLimits()

Result = TypeVar("Result")

_backoff = wait_exponential(multiplier=0.5, max=5) + wait_random(-0.2, 0.2)


def with_retries(
    attempt: Callable[[int], Result],
    sleep: Callable[[float], None],
    retries: int = RETRIES,
    longest_wait: float = LONGEST_WAIT_SECONDS,
    may_repeat: Callable[[], bool] = lambda: True,
) -> Result:
    """The result of `attempt(number)`, made again at most `retries` times.

    It is made again after a RateLimited and after another TransientError without a status (no complete
    answer) or with one of `RETRIED_STATUSES`: after 0.5 s, 1 s and 2 s, each +-0.2 s, or after what the
    server asks if that is longer: then the pause that the budget keeps for everybody is over as well. If
    the server asks for more than `longest_wait` seconds, or after the last attempt, its error is raised.
    A 429 that comes again after a minute of waiting for it is the last: the month's credits may be gone.
    So is an attempt after which `may_repeat()` is false. A budget that ends between two attempts says what
    the attempt before met.
    """
    limited = 0.0
    before: BaseException | None = None

    def announce(state: RetryCallState) -> None:
        nonlocal limited, before
        before = error = state.outcome.exception() if state.outcome else None
        limited += state.upcoming_sleep if isinstance(error, RateLimited) else 0.0
        logger.warning("Asking again in %.1f s: %s", state.upcoming_sleep, error)

    retrying = Retrying(
        sleep=sleep,
        wait=lambda state: max(0.0, _asked(state), _backoff(state)),
        stop=lambda state: (
            state.attempt_number > retries
            or _asked(state) > longest_wait
            or (_is_limited(state) and limited >= LIMIT_SECONDS)
            or not may_repeat()
        ),
        retry=retry_if_exception(_is_worth_it),
        before_sleep=announce,
        reraise=True,
    )
    numbers = itertools.count(1)
    try:
        return retrying(lambda: attempt(next(numbers)))
    except RateLimited as error:
        if limited < LIMIT_SECONDS:
            raise
        raise error.with_verdict(STILL_LIMITED) from None
    except BudgetExhausted as error:
        if before is None:
            raise
        raise error.after(before) from None


def asked_pause(error: CoinGeckoError) -> tuple[float | None, str]:
    """For how many seconds every process pauses after this error, None if it need not, and whose rule that is.

    The server's own number wins over ours.
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


def _is_worth_it(error: BaseException) -> bool:
    if not isinstance(error, TransientError) or isinstance(error, BudgetExhausted):
        return False
    # A limit may come under status 200.
    return isinstance(error, RateLimited) or error.status is None or error.status in RETRIED_STATUSES


def _asked(state: RetryCallState) -> float:
    """What the server asked to wait after this attempt, 0 if it did not say."""
    error = state.outcome.exception() if state.outcome else None
    return (error.retry_after or 0.0) if isinstance(error, TransientError) else 0.0


def _is_limited(state: RetryCallState) -> bool:
    return isinstance(state.outcome.exception() if state.outcome else None, RateLimited)
