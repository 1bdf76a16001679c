"""What the command line gives to every section."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.figures import Figure


@dataclass(frozen=True)
class Options:
    """The seed of all random choices, and the size of a section: full, quick, or a count; `minutes` ends it earlier."""

    seed: int
    quick: bool = False
    size: int | None = None
    minutes: float | None = None

    def count(self, full: int, quick: int) -> int:
        """How many runs, answers or ticks a section has."""
        return self.size or (quick if self.quick else full)

    def repeat(self, count: int) -> Iterator[int]:
        """Yield numbers below `count` until the time is up."""
        ends = time.monotonic() + 60 * (self.minutes or 1e6)
        for number in range(count):
            if time.monotonic() > ends:
                return
            yield number

    def random(self, what: str) -> random.Random:
        """Random numbers of their own for each purpose, so that one section does not shift those of another."""
        return random.Random(f"{self.seed} {what}")


Section = Callable[[Options], Iterator[Figure]]
