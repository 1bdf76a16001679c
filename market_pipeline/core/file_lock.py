"""Locks between processes of this host: files that the system unlocks when their process ends."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

if sys.platform != "win32":
    import fcntl


def try_lock(lock: TextIO) -> bool:
    """Lock the open file until it is closed; False if another process holds it. Always True on Windows."""
    if sys.platform != "win32":
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


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
