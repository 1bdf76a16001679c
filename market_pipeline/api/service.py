"""What the endpoints work with: settings, database, coins, and access to Dagster."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any

import anyio
from fastapi import Depends, Request

from market_pipeline.api.dagster_reports import DagsterHome, DagsterUnavailable
from market_pipeline.api.http.problems import ApiProblem
from market_pipeline.budget.status import budget_status, has_monthly_credits
from market_pipeline.core.clock import Clock, utc_now
from market_pipeline.core.symbols import Catalogue
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.facts import InstallationState, disk_spaces, price_facts, storage_folders
from market_pipeline.prices.freshness import next_tick
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables

logger = get_logger(__name__)

# What `symbol` raises, as an example for the OpenAPI document.
UNSUPPORTED = (400, "Unsupported symbol: 'XYZ'. Supported are BTC, ETH.")

# Threads of /readyz and /metrics; more would only wait for Dagster's one thread.
STATE_THREADS = 4


@dataclass(frozen=True)
class Service:
    """One API process, which started at `started` (aware UTC); safe from any thread."""

    settings: Settings
    database: Database
    dagster: DagsterHome
    clock: Clock = utc_now
    started: datetime = field(default_factory=utc_now)
    catalogue: Catalogue = field(init=False)

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
        """Return the installation's state; raise a StorageError or SQLAlchemyError if the database cannot be read."""
        now, cron = self.clock(), self.settings.collect_cron
        prices = price_facts(self.database, self.catalogue.symbols, cron, now)
        state = InstallationState(
            prices, None, self.started, next_tick(cron, self.started),
            disks=disk_spaces(storage_folders(self.database, self.dagster.home)),
            budget=budget_status(self.settings, self.database, now) if has_monthly_credits(self.settings) else None,
        )
        try:
            facts = self.dagster.facts(self.settings, now)
            days = {(at.date(), symbol) for at in (prices.oldest_fresh, now) for symbol in prices.stale}
            collected_at = self.dagster.last_materialized(tables.raw_prices.name, days) if days else None
        except DagsterUnavailable as error:
            logger.warning("%s", error)
            return state
        return replace(state, dagster=facts, collected_at=collected_at)

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
