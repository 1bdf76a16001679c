"""Waiting for what another thread or process is about to do."""

import time


def wait_for(condition, seconds, what):
    """The first true value of `condition()`; the test fails if there is none within `seconds`."""
    deadline, pause = time.monotonic() + seconds, 0.01
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(pause)
        pause = min(0.5, 1.5 * pause)
    return found
