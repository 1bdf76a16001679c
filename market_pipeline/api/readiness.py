"""What there is to say of an installation that can be read: how fresh its prices are and who collects.

`look` gathers the facts, `conditions` judges them; a dead scheduler and a quiet market must look different.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from market_pipeline.api.dagster_home import DagsterUnavailable
from market_pipeline.api.service import Service
from market_pipeline.defs.heartbeats import SCHEDULER, Heartbeat
from market_pipeline.doctor.words import some, span
from market_pipeline.logs import get_logger
from market_pipeline.prices.freshness import oldest_fresh
from market_pipeline.storage import tables
from market_pipeline.storage.audit import newest_quote_times
from market_pipeline.storage.recent_counts import refused_lately

logger = get_logger(__name__)

_START = "`make run` starts it."
# The job that collects current prices; its module needs Dagster.
_TICK = "tick"


@dataclass(frozen=True)
class State:
    """An installation at `now` (aware UTC, like all times here).

    `newest` is the time of the newest quote of each symbol, `oldest_fresh` how old it may be. `daemons` is
    None if Dagster's storage cannot be read. Where symbols are not fresh, `failed_at` is when the last tick
    failed, if it did, `collected_at` when one of them was last collected today or on the day of
    `oldest_fresh`, and `refused` are those refused since then.
    """

    now: datetime
    newest: Mapping[str, datetime | None]
    oldest_fresh: datetime
    daemons: Sequence[Heartbeat] | None
    collected_at: datetime | None = None
    refused: frozenset[str] = frozenset()
    failed_at: datetime | None = None

    @property
    def stale(self) -> list[str]:
        """The symbols without a fresh quote."""
        return [symbol for symbol, at in self.newest.items() if at is None or at < self.oldest_fresh]

    @property
    def scheduler_alive(self) -> bool | None:
        """Whether scheduled runs are started; None if that cannot be known."""
        if self.daemons is None:
            return None
        return any(beat.alive for beat in self.daemons if beat.daemon == SCHEDULER)


@dataclass(frozen=True)
class Condition:
    """Something that is not as it should be: a word for programs, a sentence for people."""

    kind: str
    detail: str


def look(service: Service) -> State:
    """The state of the installation of `service`.

    Raises a StorageError or a SQLAlchemyError if the database cannot be read.
    """
    now = service.clock()
    oldest = oldest_fresh(service.settings.collect_cron, now)
    state = State(now, newest_quote_times(service.database, service.catalogue.symbols), oldest, None)
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


def conditions(state: State) -> Iterator[Condition]:
    """Everything that is not as it should be; nothing if all is well."""
    begun = any(state.newest.values()) or state.failed_at is not None
    if not begun:
        yield Condition("no-prices-yet", "No price is stored yet; the first comes with the first tick.")
    yield from _of_daemons(state)
    if begun and state.stale and state.scheduler_alive is not False:
        yield _of_stale_prices(state)


def _of_daemons(state: State) -> Iterator[Condition]:
    if state.daemons is None:
        detail = "Dagster's storage cannot be read: who collects is not known. The log has the reason."
        yield Condition("dagster-unreadable", detail)
        return
    if not any(beat.at for beat in state.daemons):
        detail = f"No scheduler has ever reported to this Dagster instance; {_START}"
        yield Condition("never-scheduled", detail)
        return
    for beat in state.daemons:
        last = f"its last heartbeat came {span(state.now - beat.at)} ago" if beat.at else "it never reported"
        if not beat.alive and beat.daemon == SCHEDULER:
            detail = f"The scheduler is dead, {last}: nothing collects prices; {_START}"
            yield Condition("scheduler-dead", detail)
        elif not beat.alive:
            yield Condition("daemon-dead", f"Dagster's {beat.daemon} is dead, {last}; {_START}")
        if beat.error:
            detail = f"Dagster's {beat.daemon} reports errors; `market-pipeline doctor` tells them."
            yield Condition("daemon-errors", detail)


def _of_stale_prices(state: State) -> Condition:
    """Why there are symbols without a fresh quote although somebody seems to collect."""
    what = _newest_of_stale(state)
    if state.daemons is None:
        return Condition("stale-prices", f"{what}.")
    if state.failed_at is not None:
        when = span(state.now - state.failed_at)
        detail = f"The last tick failed {when} ago: see its run in the Dagster UI, or `market-pipeline doctor`"
        return Condition("tick-failed", f"{what}. {detail}.")
    if state.refused:
        detail = f"the source's prices of {some(sorted(state.refused))} are refused, see rejected_prices"
        return Condition("prices-refused", f"{what}: {detail}.")
    if state.collected_at is None or state.collected_at < state.oldest_fresh:
        when = f"was {span(state.now - state.collected_at)} ago" if state.collected_at else "was not today"
        return Condition(
            "not-collected",
            f"{what}. The scheduler is alive, but the last collection {when}: see failed runs and stopped "
            "schedules in the Dagster UI, or `market-pipeline doctor`.",
        )
    asked = span(max(state.now - state.collected_at, timedelta()))
    return Condition(
        "quiet-market",
        f"{what} although CoinGecko was asked {asked} ago: the market is quiet, or its feed stands still.",
    )


def _newest_of_stale(state: State) -> str:
    symbols = some(state.stale)
    times = [at for symbol in state.stale if (at := state.newest[symbol]) is not None]
    if not times:
        return f"There is no price of {symbols} yet"
    return f"The newest price of {symbols} is {span(state.now - max(times))} old"
