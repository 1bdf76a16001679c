"""When to stop asking: a source that is down is asked a few times, not once a symbol."""

from collections.abc import Iterable, Iterator

from market_pipeline.coingecko.errors import (
    BadAnswer, CoinGeckoError, ConnectionFailed, ServerFailed, SourceDown,
)

# Each of them has had its retries.
FAILURES_IN_A_ROW = 3


class Outage:
    """What one request after another says about the whole source.

    `stopped` is the error that requests not sent any more fail with, None as long as asking on makes
    sense: it is set by an error that affects all requests, and by `FAILURES_IN_A_ROW` failures of the
    server or the connection, or answers that are none.
    """

    def __init__(self) -> None:
        self.stopped: CoinGeckoError | None = None
        self._in_a_row = 0

    def note(self, error: CoinGeckoError | None) -> None:
        """Take in how the last request ended, None if it was answered."""
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
        """`symbols` in the order in which to ask for them, which follows from what has been noted.

        The last failure that is needed is looked for at the other end: otherwise neighbours for which
        the source always fails would keep all symbols after them from being asked for, in every run.
        """
        waiting = list(symbols)
        while waiting:
            suspected = self.stopped is None and self._in_a_row == FAILURES_IN_A_ROW - 1
            yield waiting.pop(-1 if suspected else 0)
