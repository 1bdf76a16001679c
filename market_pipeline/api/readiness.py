"""The facts of an installation that can be read: how fresh its prices are and who collects.

What they mean is judged in `conditions`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from market_pipeline.api.dagster_home import DagsterUnavailable
from market_pipeline.api.service import Service
from market_pipeline.defs.heartbeats import SCHEDULER, Heartbeat
from market_pipeline.logs import get_logger
from market_pipeline.prices.freshness import next_tick, oldest_fresh
from market_pipeline.storage import tables
from market_pipeline.storage.audit import newest_quote_times
from market_pipeline.storage.recent_counts import refused_lately

logger = get_logger(__name__)

# A first run loads the code before it collects.
_FIRST_RUN = timedelta(minutes=2)
# The job that collects current prices; its module needs Dagster.
_TICK = "tick"


@dataclass(frozen=True)
class State:
    """An installation at `now` (aware UTC, like all times here).

    `newest` is the time of the newest quote of each symbol, `oldest_fresh` how old it may be; the API is there
    since `started`, and `first_tick` is the first one after that. `daemons` is None if Dagster's storage cannot
    be read. Where symbols are not fresh, `failed_at` is when the last tick failed, if it did, `collected_at`
    when one of them was last collected today or on the day of `oldest_fresh`, and `refused` are those refused
    since then.
    """

    now: datetime
    newest: Mapping[str, datetime | None]
    oldest_fresh: datetime
    started: datetime
    first_tick: datetime
    daemons: Sequence[Heartbeat] | None
    collected_at: datetime | None = None
    refused: frozenset[str] = frozenset()
    failed_at: datetime | None = None

    @property
    def stale(self) -> list[str]:
        """The symbols without a fresh quote."""
        return [symbol for symbol, at in self.newest.items() if at is None or at < self.oldest_fresh]

    @property
    def starting(self) -> bool:
        """Whether no tick can have come to its end since the API is there, and all may begin together."""
        return self.now < self.first_tick + _FIRST_RUN

    @property
    def scheduler_alive(self) -> bool | None:
        """Whether scheduled runs are started; None if that cannot be known."""
        if self.daemons is None:
            return None
        return any(beat.alive for beat in self.daemons if beat.daemon == SCHEDULER)


def look(service: Service) -> State:
    """The state of the installation of `service`.

    Raises a StorageError or a SQLAlchemyError if the database cannot be read.
    """
    now = service.clock()
    oldest = oldest_fresh(service.settings.collect_cron, now)
    newest = newest_quote_times(service.database, service.catalogue.symbols, now)
    first_tick = next_tick(service.settings.collect_cron, service.started)
    state = State(now, newest, oldest, service.started, first_tick, None)
    stale = state.stale
    refused = frozenset(refused_lately(service.database, stale, oldest)) if stale else frozenset()
    try:
        daemons = service.dagster.heartbeats(now)
        days = {(at.date(), symbol) for at in (oldest, now) for symbol in stale}
        collected_at = service.dagster.last_materialized(tables.raw_prices.name, days) if stale else None
        failed_at = service.dagster.failed_at(_TICK) if stale else None
    except DagsterUnavailable as error:
        logger.warning("%s", error)
        return replace(state, refused=refused)
    return replace(state, daemons=daemons, collected_at=collected_at, refused=refused, failed_at=failed_at)
