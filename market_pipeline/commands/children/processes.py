"""Child processes that end with their parent: started in groups of their own, stopped together.

Only a parent that is killed by SIGKILL leaves them behind.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from market_pipeline.commands.children.relay import Relay
from market_pipeline.logs import get_logger

GRACE_SECONDS = 20.0
_LEFTOVER_SECONDS = 5.0


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Ask the child to end, then what is left of its group, then insist.

    The child is asked alone because it ends its own children in order; asked all at once they would
    quarrel on the terminal. What is left after that is a run at work: asked, it reports that it was
    interrupted.
    """
    if sys.platform == "win32":
        child.terminate()
        child.wait()
        return
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _signal_group(child, number):
            break
        _wait_for_group(child)
    child.wait()


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """End the child and all of its group at once."""
    if sys.platform == "win32":
        child.kill()
    else:
        _signal_group(child, signal.SIGKILL)


def _wait_for_group(child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _LEFTOVER_SECONDS
    while time.monotonic() < deadline and _signal_group(child, 0):
        child.poll()
        time.sleep(_POLL_SECONDS)


def _signal_group(child: subprocess.Popen[bytes], number: int) -> bool:
    """Whether there still was somebody in the child's group to receive the signal."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return False
    return True


logger = get_logger(__name__)

_POLL_SECONDS = 0.2
_TELLING_SECONDS = 2.0
_STOPPING = "Stopping; this takes some seconds. Press Ctrl-C again to kill everything."
# SIGHUP is a terminal that was closed; Windows has none.
_STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(BaseException):
    """Somebody wants everything to stop: Ctrl-C, SIGTERM, or a closed terminal.

    Like KeyboardInterrupt it is no Exception: whatever is at work must not take it for a failure of its own.
    """


class Processes:
    """A `with` block whose processes, and theirs, are gone when it ends.

    Each child leads a process group, so that Ctrl-C in the terminal reaches only this process,
    which then stops the children in reverse order and waits for them; a second Ctrl-C kills them.
    Windows has no such groups: there the children alone are ended.
    """

    def __init__(self) -> None:
        self._children: list[subprocess.Popen[bytes]] = []
        self._relays: list[Relay] = []
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Processes":
        self._former = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
        _on_stop_signals(self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        _on_stop_signals(self._kill)
        # Threads know nothing of the command they belong to.
        tell = copy_context().run
        telling = threading.Thread(target=tell, args=(logger.info, _STOPPING), name="stopping", daemon=True)
        telling.start()
        telling.join(_TELLING_SECONDS)
        for child in reversed(self._children):
            end_group(child)
        for relay in self._relays:
            relay.drain()
        if telling.is_alive():
            # Whoever reads standard error has stopped doing so, and Python's own end would wait for it.
            os._exit(0 if kind is Stopped else 1)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        return kind is Stopped

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, relayed_as: str | None = None
    ) -> subprocess.Popen[bytes]:
        """Start `command` in `folder` with exactly `environment`.

        What it writes is passed on in the form of our lines, of the logger `relayed_as` where it names
        none itself; without that the child, which writes such lines itself, has our standard error.
        """
        output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if relayed_as else {}
        child = subprocess.Popen(command, env=dict(environment), cwd=folder, start_new_session=True, **output)
        self._children.append(child)
        if relayed_as and child.stdout:
            self._relays.append(Relay(child.stdout, relayed_as))
        return child

    def wait_for_any(self) -> int:
        """Block until one child ends by itself; its exit code."""
        while True:
            for child in self._children:
                if child.poll() is not None:
                    return int(child.returncode)
            time.sleep(_POLL_SECONDS)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        _on_stop_signals(self._kill)
        raise Stopped

    def _kill(self, number: int, frame: FrameType | None) -> None:
        # A closed terminal hangs up more than once, which is nobody's impatience.
        if number in (signal.SIGINT, signal.SIGTERM):
            for child in self._children:
                kill_group(child)


def _on_stop_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in _STOP_SIGNALS:
        signal.signal(number, handler)
