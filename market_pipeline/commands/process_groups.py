"""How a child process that leads a group ends, and everybody in the group with it."""

import os
import signal
import subprocess
import sys
import time

GRACE_SECONDS = 20.0
_LEFTOVER_SECONDS = 5.0
_POLL_SECONDS = 0.2


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
