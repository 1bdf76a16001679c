"""What a condition means for the person on call: its level, its short title, and the episode that it belongs to."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from market_pipeline.core.wording import some
from market_pipeline.pipeline.conditions import Condition, Kind
from market_pipeline.pipeline.facts import TOO_LITTLE_SPACE, InstallationState
from market_pipeline.pipeline.names import CONSEQUENCES as OF_JOBS
from market_pipeline.pipeline.names import TICK, TICK_SCHEDULE
from market_pipeline.storage.queries.alert_outbox import Level

NO_FRESH_PRICES = "no-fresh-prices"
# Why prices are stale may change while they are: for the person on call that is one episode.
_FEED: frozenset[Kind] = frozenset({"stale-prices", "not-collected", "prices-refused", "quiet-market"})
# Normal at a first start; another condition reports what lasts.
_IGNORED: frozenset[Kind] = frozenset({"starting", "no-prices-yet"})
_AT_ONCE: frozenset[Kind] = frozenset({"scheduler-dead", "never-scheduled"})
_DAEMONS: frozenset[Kind] = _AT_ONCE | {"daemon-dead", "daemon-errors", "collected-elsewhere"}
# The watcher may be started together with the scheduler, which loads the code first.
_SETTLED_AFTER = timedelta(minutes=3)
_TICK_SUBJECTS = (TICK, TICK_SCHEDULE)
# What follows if no tick succeeds.
CONSEQUENCES = (NO_FRESH_PRICES, "scores-behind")
# The next ticks make up for a failed one; after this long without prices the alert becomes critical.
CRITICAL_AFTER = timedelta(minutes=30)

# By kind of message.
TITLES = {
    "dagster-unreadable": "Dagster's storage cannot be read",
    "collected-elsewhere": "No scheduler reports to this Dagster instance",
    "never-scheduled": "No scheduler runs: no prices are collected",
    "scheduler-dead": "The scheduler is dead: no prices are collected",
    "daemon-dead": "Dagster's {subject} daemon is dead",
    "daemon-errors": "Daemons of Dagster keep failing",
    "schedule-off": "{subject} is turned off",
    "schedule-silent": "{subject} has stopped",
    "evaluation-failed": "{subject} fails before it can start a run",
    "tick-failed": "Ticks fail: {consequence}",
    "check-failed": "A blocking check stops {subject}: prices are stored, but not scored",
    "check-error": "Check {subject} fails",
    "job-failed": "Runs of {subject} fail: {consequence}",
    NO_FRESH_PRICES: "No fresh prices of {symbols}",
    "scores-behind": "Prices of {symbols} are not searched for anomalies",
    "disk-low": "The disk of {subject} is nearly full",
    "credits-low": "CoinGecko credits are below the reserve",
}


@dataclass(frozen=True)
class Signal:
    """A condition as it is reported, for one symbol if it is about coins; `key` stays the same while it lasts."""

    key: str
    kind: str
    symbol: str
    condition: Condition

    @property
    def group(self) -> str:
        """Signals of one group that begin together are one message."""
        return ":".join(filter(None, (self.kind, self.condition.subject)))


def signals(found: Sequence[Condition], state: InstallationState) -> list[Signal]:
    """Return the signals for `found`; shortly after a start none about the daemons."""
    return list(_signals(found, _IGNORED | _DAEMONS if _just_started(state) else _IGNORED))


def _just_started(state: InstallationState) -> bool:
    return state.now - state.started < _SETTLED_AFTER


def _signals(found: Sequence[Condition], ignored: frozenset[Kind]) -> Iterator[Signal]:
    for condition in found:
        if condition.kind in ignored:
            continue
        kind = NO_FRESH_PRICES if condition.kind in _FEED else condition.kind
        for symbol in condition.symbols or ("",):
            yield Signal(":".join(filter(None, (kind, condition.subject, symbol))), kind, symbol, condition)


def level_of(condition: Condition, state: InstallationState, lasts: timedelta) -> Level:
    """Return the level of a condition that has lasted for `lasts`; critical pages the person on call."""
    lasting = lasts >= CRITICAL_AFTER
    every_coin = condition.kind in _FEED and set(condition.symbols) >= set(state.prices.newest)
    no_ticks = condition.subject in _TICK_SUBJECTS or condition.kind == "dagster-unreadable"
    stopped = condition.subject == TICK_SCHEDULE and condition.kind != "evaluation-failed"
    critical = condition.kind in _AT_ONCE or stopped or _is_full(condition, state)
    return "critical" if critical or (lasting and (every_coin or no_ticks)) else "alert"


def _is_full(condition: Condition, state: InstallationState) -> bool:
    full = [disk.what for disk in state.disks if disk.free < TOO_LITTLE_SPACE]
    return condition.kind == "disk-low" and condition.subject in full


def title_of(kind: str, subject: str, symbols: Sequence[str]) -> str:
    """Return the condition in a few words."""
    consequence = OF_JOBS.get(subject, "a run that was launched by hand has not done its work")
    return TITLES[kind].format(subject=subject, symbols=some(symbols), consequence=consequence)


def hidden(found: Sequence[Condition], state: InstallationState) -> Callable[[str], bool]:
    """Return which kinds cannot be judged from these facts: their absence does not mean that they are over.

    A cause hides its consequences, and right after a start everything is given time.
    """
    kinds = {condition.kind for condition in found}
    stopped = any(condition.subject in _TICK_SUBJECTS for condition in found)
    no_ticks = stopped or state.scheduler_alive is False or "no-prices-yet" in kinds

    def is_hidden(kind: str) -> bool:
        if kind in CONSEQUENCES:
            return no_ticks or state.starting
        if kind in ("disk-low", "credits-low", "dagster-unreadable"):
            return False
        # The rest is read from Dagster's storage.
        if state.dagster is None or state.starting or _just_started(state):
            return True
        return kind in ("schedule-silent", "daemon-dead", "daemon-errors") and state.scheduler_alive is False

    return is_hidden


def is_cause(key: str) -> bool:
    """Return whether no tick succeeds while the condition with this key lasts."""
    kind, _, subject = key.partition(":")
    return kind in _AT_ONCE or subject in _TICK_SUBJECTS


def expired(key: str, state: InstallationState) -> bool:
    """Return whether a failed run is no longer reported because of its age, although none has succeeded since."""
    jobs = () if state.dagster is None else state.dagster.jobs
    return any(key == f"job-failed:{job.job}" and job.failed for job in jobs)
