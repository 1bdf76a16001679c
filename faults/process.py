"""What a process holds, as the kernel counts it; whether a series of such counts is flat; signals to processes."""

import os
import signal
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_mib(pid: int | str = "self") -> float:
    """Resident memory of a process, in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20


def open_files(pid: int | str = "self") -> int:
    """How many file descriptors a process holds."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int | str = "self") -> int:
    """How many threads a process has."""
    return len(os.listdir(f"/proc/{pid}/task"))


def growth(series: Sequence[float]) -> float:
    """By how much the median of the last quarter of `series` exceeds that of the second quarter.

    The first quarter warms caches up.
    """
    quarter = max(1, len(series) // 4)
    return statistics.median(series[-quarter:]) - statistics.median(series[quarter : 2 * quarter])


def children(pid: int) -> list[int]:
    """The processes that `pid` has started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that still exists."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(pids: Sequence[int]) -> None:
    """Kill processes with -9 and wait for their end; a zombie has ended."""
    send(pids, signal.SIGKILL)
    while any(_runs(pid) for pid in pids):
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
