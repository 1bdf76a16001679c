"""Another process without the seconds that an interpreter takes to import Dagster."""

import json
import os
import select
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

_SECONDS = 60


def killed_fork(function: Callable[[], object]) -> None:
    """Call `function` in a fork of this process, in which it must end by SIGKILL."""
    with _fork(function) as (child, _):
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def in_a_fork(function: Callable[[], object]) -> Any:
    """Return what `function`, called in a fork of this process, returns; None if it raises."""
    with _fork(function) as (child, answer):
        found = os.read(answer, 65_536)
        os.waitpid(child, 0)
    return json.loads(found or b"null")


def kill_self(*_: object) -> None:
    """End this process as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def start_fork(function: Callable[..., object], *arguments: object) -> BaseProcess:
    """Start a fork of this process that calls `function` and ends; what it prints, this process prints."""
    with _without_warning():
        process = get_context("fork").Process(target=_call_and_end, args=(function, *arguments))
        process.start()
    return process


def _call_and_end(function: Callable[..., object], *arguments: object) -> None:
    """End without what this process does at its end, such as writing coverage, which belongs to the parent."""
    code = 0
    try:
        function(*arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def _without_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        # From Python 3.12 on: other threads may hold locks, which the function must not need.
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@contextmanager
def _fork(function: Callable[[], object]) -> Iterator[tuple[int, int]]:
    """The fork and the end of a pipe that has its answer, or nothing if it has ended; killed if it takes too long."""
    reading, writing = os.pipe()
    with _without_warning():
        child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(function()).encode())
        finally:
            os._exit(1)
    os.close(writing)
    try:
        if not select.select([reading], [], [], _SECONDS)[0]:
            os.kill(child, signal.SIGKILL)
        yield child, reading
    finally:
        os.close(reading)
