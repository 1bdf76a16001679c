"""What the endpoints work with: settings, database, coins, and access to Dagster."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any

import anyio
from fastapi import Depends, Request

from market_pipeline.api.http.problems import ApiProblem
from market_pipeline.core.clock import Clock, utc_now
from market_pipeline.core.symbols import Catalogue
from market_pipeline.dagster_instance.connection import DagsterHome, installation_state
from market_pipeline.pipeline.facts import InstallationState
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database

# What `symbol` raises, as an example for the OpenAPI document.
UNSUPPORTED = (400, "Unsupported symbol: 'XYZ'. Supported are BTC, ETH.")

# Threads of /readyz and /metrics; more would only wait for Dagster's one thread.
STATE_THREADS = 4
# The state of a thousand symbols takes a second of processor time, and each open page requests it every minute.
STATE_SECONDS = 5.0


@dataclass
class _KeptState:
    """The last state that was read, or why it could not be, and when that ended."""

    state: InstallationState | None = None
    error: Exception | None = None
    read_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Service:
    """One API process, which started at `started` (aware UTC); safe from any thread."""

    settings: Settings
    database: Database
    dagster: DagsterHome
    clock: Clock = utc_now
    started: datetime = field(default_factory=utc_now)
    state_seconds: float = STATE_SECONDS
    catalogue: Catalogue = field(init=False)
    _kept: _KeptState = field(init=False, default_factory=_KeptState)

    def __post_init__(self) -> None:
        object.__setattr__(self, "catalogue", self.settings.catalogue)

    def symbol(self, given: str) -> str:
        """Return `given` in upper case; raise an ApiProblem 400 with the supported symbols if it is not collected."""
        try:
            return self.catalogue.validate_symbol(given)
        except ValueError as error:
            raise ApiProblem(
                400, "unsupported-symbol", str(error), supported=list(self.catalogue.symbols)
            ) from None

    def state(self) -> InstallationState:
        """Return the installation's state; raise a StorageError or SQLAlchemyError if the database cannot be read.

        It is `state_seconds` old at most: pages and scrapes that come together, or meanwhile, share one. An error is
        shared by those that waited for it only: a database that hangs would delay each of them in turn.
        """
        kept, asked_at = self._kept, time.monotonic()
        with kept.lock:
            if kept.error is not None and kept.read_at >= asked_at:
                raise kept.error
            if kept.state is None or time.monotonic() - kept.read_at >= self.state_seconds:
                kept.state = kept.error = None
                try:
                    kept.state = self._state_of(None)
                except Exception as error:
                    kept.error = error
                    raise
                finally:
                    kept.read_at = time.monotonic()
            return kept.state

    def state_of(self, symbol: str) -> InstallationState:
        """Return the installation's state with the prices of `symbol` only, whose cost does not grow with the others.

        Of a symbol without a price it is `state`: what is wrong depends on whether others have prices.
        """
        state = self._state_of([symbol])
        return state if state.prices.newest[symbol] else self.state()

    def _state_of(self, symbols: Sequence[str] | None) -> InstallationState:
        return installation_state(self.settings, self.database, self.dagster, self.started, self.clock(), symbols)

    def with_own_connections(self) -> "Service":
        """Return the same service over a connection pool of its own, for work that must not delay readers."""
        return replace(self, database=Database(self.database.url, self.database.coins))


def from_state(name: str) -> Any:
    """Return the dependency with which an endpoint receives the attribute `name` of the application's state."""

    # Not a plain function: FastAPI would run that in its thread pool, which costs more than the function.
    async def get(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(get)


ServiceOf = Annotated[Service, from_state("service")]
StateThreads = Annotated[anyio.CapacityLimiter, from_state("state_threads")]
PackagedThreads = Annotated[anyio.CapacityLimiter, from_state("packaged_threads")]
