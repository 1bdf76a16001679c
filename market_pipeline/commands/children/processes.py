"""Child processes that end with their parent: each leads a process group, all are stopped together.

Only a parent that is killed by SIGKILL leaves them behind.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from market_pipeline.commands.children.relay import Relay
from market_pipeline.logs import get_logger

logger = get_logger(__name__)

GRACE_SECONDS = 20.0
_LEFTOVER_SECONDS = 5.0
_LOGGING_SECONDS = 2.0
_CAUSE_SECONDS = 1.0
_POLL_SECONDS = 0.2
_STOPPING = "Stopping; this takes some seconds. Press Ctrl-C again to kill everything."
# SIGHUP is a terminal that was closed; Windows has none.
_STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(BaseException):
    """A signal to stop everything: Ctrl-C, SIGTERM, or a closed terminal.

    Like KeyboardInterrupt it is no Exception: code that handles failures must not handle it.
    """


@dataclass(frozen=True)
class End:
    """The end of the process `name`; `code` is as `Popen.returncode` has it: negative for a signal."""

    name: str
    code: int

    @property
    def exit_code(self) -> int:
        """The exit code as a shell has it."""
        return 128 - self.code if self.code < 0 else self.code

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended it, as where memory ran out; Windows has no such signal."""
        return sys.platform != "win32" and self.code == -signal.SIGKILL

    @property
    def how(self) -> str:
        """How it ended, in words."""
        if self.code >= 0:
            return f"ended with exit code {self.code}"
        known = {number.value: number.name for number in signal.Signals}
        return f"was killed by {known.get(-self.code, f'signal {-self.code}')}"


class Processes:
    """A `with` block whose processes, and their children, are gone when it ends.

    Ctrl-C in the terminal reaches only this process, which then stops the children in reverse order and waits for
    them; a second Ctrl-C kills them. Windows has no process groups: there only the children themselves are ended.
    `before_end` is called before that and `after_end` after it; their errors are logged.
    """

    def __init__(
        self, before_end: Callable[[], None] = lambda: None, after_end: Callable[[], None] = lambda: None
    ) -> None:
        self._before_end = before_end
        self._after_end = after_end
        self._children: list[subprocess.Popen[bytes]] = []
        self._names: dict[subprocess.Popen[bytes], str] = {}
        self._relays: dict[subprocess.Popen[bytes], Relay] = {}
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Processes":
        self._former = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
        _on_stop_signals(self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        _on_stop_signals(self._kill)
        # In a thread, because standard error may block; with the command's trace id.
        log = copy_context().run
        logging_thread = threading.Thread(target=log, args=(logger.info, _STOPPING), name="stopping", daemon=True)
        logging_thread.start()
        logging_thread.join(_LOGGING_SECONDS)
        _try(self._before_end)
        for child in reversed(self._children):
            _end_group(child)
        _try(self._after_end)
        for relay in self._relays.values():
            relay.drain()
        if logging_thread.is_alive():
            # The reader of standard error has stopped reading, and the interpreter's exit would wait for it.
            os._exit(0 if kind is Stopped else 1)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        return kind is Stopped

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, name: str, *, relayed: bool = True
    ) -> subprocess.Popen[bytes]:
        """Start `command` in `folder` with exactly `environment`.

        If it is `relayed`, its output becomes log lines, of the logger `name` where a line names none. Otherwise it
        writes log lines itself, to our standard error.
        """
        output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if relayed else {}
        child = subprocess.Popen(command, env=dict(environment), cwd=folder, start_new_session=True, **output)
        self._children.append(child)
        self._names[child] = name
        if child.stdout:
            self._relays[child] = Relay(child.stdout, name)
        return child

    def run_to_end(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, name: str,
        meanwhile: Callable[[], None],
    ) -> int:
        """Start a relayed child, call `meanwhile` a few times a second, and return the child's exit code."""
        child = self.start(command, environment, folder, name)
        while child.poll() is None:
            meanwhile()
            time.sleep(_POLL_SECONDS)
        self._children.remove(child)
        self._relays.pop(child).drain()
        return int(child.returncode)

    def wait_for_any(self, meanwhile: Callable[[], None] = lambda: None) -> End:
        """Call `meanwhile` a few times a second until one child ends by itself; return how.

        If it ends because a process of its own has ended, and says so, that is the end that is returned.
        """
        while True:
            meanwhile()
            for child in self._children:
                if child.poll() is not None:
                    return self._lost_by(child) or End(self._names[child], child.returncode)
            time.sleep(_POLL_SECONDS)

    def _lost_by(self, child: subprocess.Popen[bytes]) -> End | None:
        if (relay := self._relays.get(child)) is None:
            return None
        relay.drain(_CAUSE_SECONDS)
        return End(*relay.lost) if relay.lost else None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        _on_stop_signals(self._kill)
        raise Stopped

    def _kill(self, number: int, frame: FrameType | None) -> None:
        # Only repeated SIGINT or SIGTERM escalate: a closed terminal hangs up more than once.
        if number in (signal.SIGINT, signal.SIGTERM):
            for child in self._children:
                _kill_group(child)


def _try(step: Callable[[], None]) -> None:
    try:
        step()
    # Whatever it is, the children must end, and the relays be emptied.
    except Exception as error:
        logger.debug("A step of the end failed: %r", error)


def _on_stop_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in _STOP_SIGNALS:
        signal.signal(number, handler)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Interrupt the child, terminate what is left of its group, and kill what is left of that.

    Only the child is interrupted, because it ends its own children in order. What is left afterwards is a run:
    terminated, it reports that it was interrupted.
    """
    if sys.platform == "win32":
        child.terminate()
        child.wait()
        return
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_SECONDS)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _signal_group(child, number):
            break
        deadline = time.monotonic() + _LEFTOVER_SECONDS
        while time.monotonic() < deadline and _signal_group(child, 0):
            child.poll()
            time.sleep(_POLL_SECONDS)
    child.wait()


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        child.kill()
    else:
        _signal_group(child, signal.SIGKILL)


def _signal_group(child: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the child's group; return whether the group still had a process."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return False
    return True
