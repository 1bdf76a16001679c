"""The process that uses a DAGSTER_HOME, and its addresses: for the message to a second one that finds it taken."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from market_pipeline.core.clock import utc_now
from market_pipeline.core.file_lock import is_locked

LOCK = "lock"
_FILE = "running.json"


@dataclass(frozen=True)
class Running:
    """The process that holds the lock, since when (UTC), and its addresses by what answers there."""

    pid: int | None = None
    since: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        who = f"process {self.pid}, since {self.since}" if self.pid else "another process"
        where = ", ".join(f"{name} {url}" for name, url in self.addresses.items())
        return f"{who}; {where}" if where else who


def record(home: Path, **addresses: str) -> None:
    """Write down where this process, which holds the lock of `home`, can be reached. Best effort."""
    fields = {"pid": os.getpid(), "since": f"{utc_now():%Y-%m-%d %H:%M} UTC", "addresses": addresses}
    with suppress(OSError):
        (home / _FILE).write_text(json.dumps(fields), encoding="utf-8")


def running(home: Path) -> Running | None:
    """Return the process that holds the lock of `home`, None if there is none."""
    try:
        with (home / LOCK).open("r+") as lock:
            if not is_locked(lock):
                return None
    except OSError:
        return None
    try:
        fields = json.loads((home / _FILE).read_text(encoding="utf-8"))
        return Running(int(fields["pid"]), str(fields["since"]), dict(fields["addresses"]))
    # The file may be of another version, or not be written yet.
    except (OSError, ValueError, KeyError, TypeError):
        return Running()
