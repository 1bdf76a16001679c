"""What can go wrong between a request and a usable answer, classified once.

    CoinGeckoError
    |-- TransientError          the same request may work later
    |   |-- RateLimited         429: too many requests, or the credits of the month are used up
    |   |-- ServerFailed        408 and 5xx
    |   |-- ConnectionFailed    a timeout, or an answer that was cut
    |   |   |-- Unreachable     no connection at all
    |   |   `-- Endless         an answer that was still coming at the deadline
    |   |-- SourceDown          nothing was asked: several requests before it had failed
    |   `-- BudgetExhausted     nothing was asked: our own budget has no request left for it now
    `-- PermanentError          the same request will fail again; a person has to change something
        |-- RequestRefused      3xx and 4xx: key, plan, parameters, coin id
        |   `-- OutOfReach      nothing was asked: the days are older than the plan reaches
        |-- BadAnswer           200 with HTML, broken JSON, an error body or another shape
        |-- Unsendable          nothing was asked: the proxy or the CA file of this machine is in the way
        `-- Banned              Cloudflare 1015, 1020 and the like: asking on makes it longer

Exceptions only; which answer becomes which of them is decided in `answers`.
"""

BODY_LIMIT = 500

# Error codes that speak of the key or the host, not of this one request.
_KEY_AND_HOST_CODES = {10002, 10005, 10010, 10011}
_RANGE_CODE = 10012


class CoinGeckoError(Exception):
    """A request that brought no usable answer.

    `status` is the HTTP status (None when there was no answer), `error_code` is CoinGecko's own code
    where the body had one, `attempts` counts the requests sent for this call, `verdict` says what it
    means and what to do. The message holds all of them and the first 500 characters of the body; it
    never holds the key. `retry_after` is how many seconds the server asked to wait, None when it did
    not say.
    """

    def __init__(
        self,
        verdict: str,
        *,
        endpoint: str,
        attempts: int,
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
        outcome = "brought no answer" if status is None else f"answered {status}"
        if not attempts:
            super().__init__(f"GET {endpoint} was not sent: {verdict}")
            return
        code = "" if error_code is None else f" (error code {error_code})"
        shown = f" Body: {self.body}" if body else ""
        super().__init__(f"GET {endpoint} {outcome}{code} on attempt {attempts}: {verdict}{shown}")

    @property
    def affects_all(self) -> bool:
        """Whether every other request would fail the same way now, so that asking on is pointless."""
        return False


class TransientError(CoinGeckoError):
    """The same request may work later."""


class RateLimited(TransientError):
    """CoinGecko wants fewer requests than it got."""

    def with_verdict(self, verdict: str) -> "RateLimited":
        """The same answer, seen with what is known from the answers before it."""
        return RateLimited(
            verdict, endpoint=self.endpoint, attempts=self.attempts, status=self.status,
            error_code=self.error_code, body=self.body, retry_after=self.retry_after,
        )

    @property
    def affects_all(self) -> bool:
        return True


class ServerFailed(TransientError):
    """CoinGecko or the edge before it failed."""


class ConnectionFailed(TransientError):
    """There was no answer in time, or only a part of one."""


class Unreachable(ConnectionFailed):
    """The request never left: the name, the network, a proxy or TLS stands in the way."""

    @property
    def affects_all(self) -> bool:
        return True


class Endless(ConnectionFailed):
    """The answer was still coming when its time was over. Another request would take as long for nothing."""

    @property
    def affects_all(self) -> bool:
        return True


class BudgetExhausted(TransientError):
    """The request was not sent, because the request budget has none left for it in useful time.

    `retry_after` is how many seconds later there will be one.
    """

    def __init__(self, verdict: str, *, endpoint: str, retry_after: float) -> None:
        super().__init__(verdict, endpoint=endpoint, attempts=0, retry_after=retry_after)

    def after(self, error: BaseException) -> "BudgetExhausted":
        """The same, of a request that was to repeat one that met `error`: that is what has to be mended."""
        verdict = f"{self.verdict} It was to be sent again: {error}"
        return BudgetExhausted(verdict, endpoint=self.endpoint, retry_after=self.retry_after or 0.0)

    @property
    def affects_all(self) -> bool:
        return True


class SourceDown(TransientError):
    """The request was not sent, because several before it had failed."""

    def __init__(self, verdict: str, *, endpoint: str) -> None:
        super().__init__(verdict, endpoint=endpoint, attempts=0)

    @property
    def affects_all(self) -> bool:
        return True


class PermanentError(CoinGeckoError):
    """The same request will fail again until a person changes something."""


class RequestRefused(PermanentError):
    """CoinGecko understood the request and refuses it."""

    @property
    def affects_all(self) -> bool:
        if self.error_code == _RANGE_CODE:
            return False
        return self.error_code in _KEY_AND_HOST_CODES or self.status in (401, 403)


class OutOfReach(RequestRefused):
    """The request was not sent, because CoinGecko is certain to refuse days as old as these."""

    def __init__(self, verdict: str, *, endpoint: str) -> None:
        super().__init__(verdict, endpoint=endpoint, attempts=0, error_code=_RANGE_CODE)


class BadAnswer(PermanentError):
    """A success status over something that is not the documented answer."""


class Unsendable(PermanentError):
    """The request never left, and cannot until a variable or a package of this machine is changed."""

    @property
    def affects_all(self) -> bool:
        return True


class Banned(PermanentError):
    """Cloudflare has blocked this address."""

    @property
    def affects_all(self) -> bool:
        return True
