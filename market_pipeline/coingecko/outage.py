"""When to give up on a source that is down: after a few requests, not after one for each symbol."""

from collections.abc import Iterable, Iterator

from market_pipeline.coingecko.errors import BadAnswer, CoinGeckoError, ConnectionFailed, ServerFailed, SourceDown

# Each of them has had its retries.
FAILURES_IN_A_ROW = 3


class Outage:
    """Decides from the outcomes of requests whether more of them make sense.

    `stopped` is the error for requests that are not sent any more, None while they make sense. An error
    that affects all requests sets it, and so do `FAILURES_IN_A_ROW` failures of the server or the
    connection, or unusable answers.
    """

    def __init__(self) -> None:
        self.stopped: CoinGeckoError | None = None
        self._in_a_row = 0

    def note(self, error: CoinGeckoError | None) -> None:
        """Record the outcome of the last request, None if it was answered."""
        failed = isinstance(error, (ServerFailed, ConnectionFailed, BadAnswer))
        self._in_a_row = self._in_a_row + 1 if failed else 0
        if error and error.affects_all:
            self.stopped = error
        elif error and self._in_a_row == FAILURES_IN_A_ROW:
            self.stopped = SourceDown(
                f"{FAILURES_IN_A_ROW} requests in a row had failed, the last one because {error.verdict}",
                endpoint=error.endpoint,
            )

    def order(self, symbols: Iterable[str]) -> Iterator[str]:
        """Yield `symbols` in the order in which to request them, which depends on the outcomes so far.

        Before the failure that would stop everything, the other end of the list is tried: otherwise neighbours that
        always fail would block all symbols after them, in every run.
        """
        waiting = list(symbols)
        while waiting:
            suspected = self.stopped is None and self._in_a_row == FAILURES_IN_A_ROW - 1
            yield waiting.pop(-1 if suspected else 0)
