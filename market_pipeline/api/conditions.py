"""What is not as it should be, judged from the facts: for programs a word, for people a sentence.

A dead scheduler, a source that fails and a quiet market must look different.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from market_pipeline.api.readiness import State
from market_pipeline.defs.heartbeats import SCHEDULER
from market_pipeline.doctor.words import some, span

_START = "`make run` starts it."


@dataclass(frozen=True)
class Condition:
    """Something that is not as it should be: a word for programs, a sentence for people."""

    kind: str
    detail: str


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
    if state.failed_at is not None and not (state.starting and state.failed_at < state.started):
        when = span(state.now - state.failed_at)
        detail = f"The last tick failed {when} ago: see its run in the Dagster UI, or `market-pipeline doctor`"
        return Condition("tick-failed", f"{what}. {detail}.")
    if state.refused:
        detail = f"the source's prices of {some(sorted(state.refused))} are refused, see rejected_prices"
        return Condition("prices-refused", f"{what}: {detail}.")
    if state.collected_at is None or state.collected_at < state.oldest_fresh:
        if state.starting:
            first = f"{state.first_tick:%H:%M} UTC"
            return Condition("starting", f"{what}. The API has just started; the first tick after that is at {first}.")
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
