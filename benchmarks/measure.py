"""How a cost is measured: processor time of whole processes or of a call, always in turn, medians."""

import gc
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Medians of two things measured in turn, and the median of their ratios."""

    first: float
    second: float
    ratio: float


def in_turn(first: Callable[[], float], second: Callable[[], float], rounds: int) -> Pair:
    """Measure both once without counting, then `rounds` times in turn."""
    first(), second()
    pairs = [(first(), second()) for _ in range(rounds)]
    return Pair(
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )


def process_cpu(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Processor seconds, user and system, of a whole process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # An installation has compiled modules; without this variable the first run of a command writes them.
    compiling = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    finished = subprocess.run(command, env=compiling, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if finished.returncode:
        raise RuntimeError(f"{' '.join(command[:6])} failed:\n{finished.stderr[-3000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def call_cpu(work: Callable[[], object]) -> float:
    """Processor seconds of this process during a call."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def call_wall(work: Callable[[], object]) -> float:
    """Wall seconds of a call, for work that another process (a database server) shares."""
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
