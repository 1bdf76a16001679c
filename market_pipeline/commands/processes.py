"""Child processes that end with their parent: started in groups of their own, stopped together."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType

GRACE_SECONDS = 20.0
_POLL_SECONDS = 0.2


class Stopped(Exception):
    """Ctrl-C or SIGTERM arrived."""


class Processes:
    """A `with` block whose processes, and theirs, are gone when it ends.

    Each child leads a process group, so that Ctrl-C in the terminal reaches only this process,
    which then stops the children in reverse order and waits for them.
    """

    def __init__(self) -> None:
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Processes":
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for child in reversed(self._children):
            _end(child)
        return kind is Stopped

    def start(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
        """Start `command` in `folder` with exactly `environment`."""
        child = subprocess.Popen(command, env=dict(environment), cwd=folder, start_new_session=True)
        self._children.append(child)
        return child

    def wait_for_any(self) -> int:
        """Block until one child ends by itself; its exit code."""
        while True:
            for child in self._children:
                if child.poll() is not None:
                    return int(child.returncode)
            time.sleep(_POLL_SECONDS)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ask the child's group to end, then insist."""
    _signal_group(child, signal.SIGINT)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    # Whatever the child left behind in its group goes too.
    _signal_group(child, signal.SIGKILL)
    child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        pass  # The whole group has ended already.
