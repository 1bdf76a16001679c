"""What can go wrong between a request and a usable answer.

    CoinGeckoError
    |-- TransientError          the same request may succeed later
    |   |-- RateLimited         429: too many requests, or the credits of the month are used up
    |   |-- ServerFailed        408 and 5xx
    |   |-- ConnectionFailed    a timeout, or an answer that was cut
    |   |   |-- Unreachable     no connection at all
    |   |   `-- DeadlineExceeded   an answer that was still arriving at the deadline
    |   |-- SourceDown          not sent: several requests before it had failed
    |   `-- BudgetExhausted     not sent: our own budget has no request left for it now
    `-- PermanentError          the same request will fail again; a person has to change something
        |-- RequestRefused      3xx and 4xx: key, plan, parameters, coin id
        |   `-- OutOfReach      not sent: the days are older than the plan's history
        |-- BadAnswer           200 with HTML, broken JSON, an error body or another shape
        |-- Misconfigured       not sent: the proxy or the CA file of this machine is unusable
        `-- Banned              Cloudflare 1015, 1020 and the like: more requests prolong it

Exceptions only; `answers` decides which answer becomes which of them.
"""

from typing import TypeVar

BODY_LIMIT = 500

# Error codes about the key or the host, not about this one request.
_KEY_AND_HOST_CODES = {10002, 10005, 10010, 10011}
_RANGE_CODE = 10012

_Error = TypeVar("_Error", bound="CoinGeckoError")


class CoinGeckoError(Exception):
    """A request without a usable answer.

    `status` is the HTTP status (None without an answer), `error_code` CoinGecko's own code, `attempts`
    the number of requests sent for this call, `verdict` what it means and what to do, `retry_after` the
    seconds that the server asks to wait. The message holds all of it and the first 500 characters of the
    body, never the key.
    """

    _affects_all = False

    def __init__(
        self,
        verdict: str,
        *,
        endpoint: str,
        attempts: int = 0,
        status: int | None = None,
        error_code: int | None = None,
        body: str = "",
        retry_after: float | None = None,
    ) -> None:
        self.verdict = verdict
        self.endpoint = endpoint
        self.attempts = attempts
        self.status = status
        self.error_code = error_code
        self.body = body[:BODY_LIMIT]
        self.retry_after = retry_after
        if not attempts:
            super().__init__(f"GET {endpoint} was not sent: {verdict}")
            return
        outcome = "brought no answer" if status is None else f"answered {status}"
        code = "" if error_code is None else f" (error code {error_code})"
        shown = f" Body: {self.body}" if body else ""
        super().__init__(f"GET {endpoint} {outcome}{code} on attempt {attempts}: {verdict}{shown}")

    @property
    def affects_all(self) -> bool:
        """Whether every other request would fail the same way now."""
        return self._affects_all

    def with_verdict(self: _Error, verdict: str) -> _Error:
        """Return the same error with another verdict."""
        return type(self)(
            verdict,
            endpoint=self.endpoint,
            attempts=self.attempts,
            status=self.status,
            error_code=self.error_code,
            body=self.body,
            retry_after=self.retry_after,
        )


class TransientError(CoinGeckoError):
    """The same request may succeed later."""


class RateLimited(TransientError):
    """CoinGecko received more requests than it allows."""

    _affects_all = True


class ServerFailed(TransientError):
    """CoinGecko or its edge failed."""


class ConnectionFailed(TransientError):
    """There was no answer in time, or only a part of one."""


class Unreachable(ConnectionFailed):
    """The request never left: name resolution, the network, a proxy or TLS failed."""

    _affects_all = True


class DeadlineExceeded(ConnectionFailed):
    """The answer was still arriving at the deadline."""

    _affects_all = True


class BudgetExhausted(TransientError):
    """Not sent: the request budget is used up; `retry_after` says in how many seconds it has a request again."""

    _affects_all = True


class SourceDown(TransientError):
    """Not sent: several requests before it had failed."""

    _affects_all = True


class PermanentError(CoinGeckoError):
    """The same request will fail again until a person changes something."""


class RequestRefused(PermanentError):
    """CoinGecko understood the request and refuses it."""

    @property
    def affects_all(self) -> bool:
        """Whether the refusal is about the key or the host."""
        if self.error_code == _RANGE_CODE:
            return False
        return self.error_code in _KEY_AND_HOST_CODES or self.status in (401, 403)


class OutOfReach(RequestRefused):
    """Not sent: CoinGecko is certain to refuse days as old as these."""


class BadAnswer(PermanentError):
    """A success status over something that is not the documented answer."""


class Misconfigured(PermanentError):
    """Not sent, and cannot be until a variable or a package of this machine is changed."""

    _affects_all = True


class Banned(PermanentError):
    """Cloudflare has blocked this address."""

    _affects_all = True
