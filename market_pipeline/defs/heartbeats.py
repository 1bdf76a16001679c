"""The heartbeats of Dagster's daemons: who reports that it is alive, and since when somebody does not."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg
    from dagster._daemon.types import DaemonHeartbeat  # has no public name

# What Dagster calls the one that starts scheduled runs.
SCHEDULER = "SCHEDULER"

# The scheduler reports once a minute, when it looks for ticks that are due.
_SCHEDULER_SILENT_AFTER = timedelta(minutes=3)
# The others may be in the middle of long work; Dagster itself waits so long before it complains.
_SILENT_AFTER = timedelta(minutes=30, seconds=30)


@dataclass(frozen=True)
class Heartbeat:
    """A daemon that this instance needs: when it last reported (aware UTC, None if it never did),
    whether that is recent enough at the time of asking, and the first error that it reported."""

    daemon: str
    at: datetime | None
    alive: bool
    error: str | None


def heartbeats(instance: "dg.DagsterInstance", now: datetime) -> list[Heartbeat]:
    """The daemons of `instance` as they are at `now`."""
    statuses = instance.get_daemon_statuses().values()
    return [_heartbeat(status.daemon_type, status.last_heartbeat, now) for status in statuses if status.required]


def _heartbeat(daemon: str, last: "DaemonHeartbeat | None", now: datetime) -> Heartbeat:
    if last is None:
        return Heartbeat(daemon, None, False, None)
    at = datetime.fromtimestamp(last.timestamp, timezone.utc)
    patience = _SCHEDULER_SILENT_AFTER if daemon == SCHEDULER else _SILENT_AFTER
    return Heartbeat(daemon, at, now - at <= patience, last.errors[0].message if last.errors else None)
