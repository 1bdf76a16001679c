"""`Simulator`: a CoinGecko on 127.0.0.1, started and stopped from Python."""

import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from market_pipeline.core.clock import Clock, utc_now
from market_pipeline.simulator.access import MONTHLY_CREDITS, PLAN_LIMITS, MinuteLimit, Plan, Usage
from market_pipeline.simulator.admin import Admin
from market_pipeline.simulator.faults import Fault, FaultBook
from market_pipeline.simulator.feed import Feed
from market_pipeline.simulator.http_server import HOST, LoopbackServer
from market_pipeline.simulator.messages import LoggedRequest, RequestLog
from market_pipeline.simulator.moves import MovedFeed
from market_pipeline.simulator.responder import Responder

# How often the serving thread checks whether to stop.
_POLL_SECONDS = 0.02


class Simulator:
    """Serves `feed` as CoinGecko would, on 127.0.0.1, from a daemon thread, inside a `with` block.

    `port` 0 takes a free one. `requests_per_minute` None is no limit. `clock` is the time of prices, limits
    and the log. `plan` decides which keys, errors and history are allowed. `monthly_credits` is the number in
    /key; nothing is refused when they are spent. `faults` are there from the start. Moves of the market are kept in
    `moves_file`, if one is given. Entering raises OSError when the port is taken.
    """

    def __init__(
        self,
        feed: Feed,
        port: int = 0,
        requests_per_minute: int | None = None,
        clock: Clock = utc_now,
        plan: Plan = "keyless",
        monthly_credits: int = MONTHLY_CREDITS,
        faults: Iterable[Fault] = (),
        moves_file: Path | None = None,
    ) -> None:
        self._faults = FaultBook(faults)
        self._log = RequestLog()
        limit = None if requests_per_minute is None else MinuteLimit(requests_per_minute)
        usage = Usage(requests_per_minute or PLAN_LIMITS[plan], monthly_credits)
        self._feed = MovedFeed(feed, moves_file)
        self._responder = Responder(self._feed, plan, limit, self._faults, usage)
        self._clock = clock
        self._port = port
        self._server: LoopbackServer | None = None

    def __enter__(self) -> "Simulator":
        admin = Admin(self._faults, self._feed, self._log, self._clock)
        self._server = LoopbackServer(self._port, self._responder, admin, self._log, self._clock)
        serve, name = self._server.serve_forever, "simulator"
        threading.Thread(target=serve, args=(_POLL_SECONDS,), name=name, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def port(self) -> int:
        """The port that is served; raises RuntimeError outside the `with` block."""
        if self._server is None:
            raise RuntimeError("The simulator is not running; use it inside `with Simulator(...) as ...:`.")
        return self._server.server_port

    @property
    def base_url(self) -> str:
        """The value for COINGECKO_BASE_URL: http://127.0.0.1:PORT/api/v3."""
        return f"http://{HOST}:{self.port}/api/v3"

    @property
    def admin_url(self) -> str:
        """Where faults and the request log are: http://127.0.0.1:PORT/admin."""
        return f"http://{HOST}:{self.port}/admin"

    @property
    def requests(self) -> list[LoggedRequest]:
        """The requests so far, oldest first, those to the admin path left out."""
        return self._log.entries()

    def add_fault(self, fault: Fault) -> None:
        """Let the next matching requests meet `fault`."""
        self._faults.add(fault)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        self._log.clear()
