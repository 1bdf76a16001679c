"""Locks between processes of this host: files that the system unlocks when their process ends."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

if sys.platform != "win32":
    import fcntl

# A query takes well under a millisecond.
_ATTEMPTS = 3
_BETWEEN_ATTEMPTS = 0.05


def try_lock(lock: TextIO) -> bool:
    """Lock the open file until it is closed; False if another process holds it. Always True on Windows."""
    return _acquired(lock)


def is_locked(lock: TextIO) -> bool:
    """Return whether another process has locked the open file; always False on Windows.

    The system has no query for such a lock, so this one shares it until the file is closed: other queries succeed
    meanwhile, and `lock_after_queries` waits.
    """
    return not _acquired(lock, shared=True)


def _acquired(lock: TextIO, *, shared: bool = False) -> bool:
    if sys.platform != "win32":
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def lock_after_queries(lock: TextIO) -> bool:
    """Lock the open file as `try_lock` does, also while others only query the lock with `is_locked`."""
    for _ in range(_ATTEMPTS):
        if try_lock(lock):
            return True
        time.sleep(_BETWEEN_ATTEMPTS)
    return try_lock(lock)


@contextmanager
def waiting_for_lock(file: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock `file`; if another process holds it, call `on_wait` and wait.

    A folder that is not writable has no lock: nothing is created there either.
    """
    try:
        lock = file.open("a")
    except OSError:
        yield
        return
    with lock:
        if not try_lock(lock):
            on_wait()
            if sys.platform != "win32":
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
