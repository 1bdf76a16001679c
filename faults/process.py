"""What a process holds, as the kernel counts it, and whether a series of such counts is flat."""

import os
import statistics
from collections.abc import Sequence
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
