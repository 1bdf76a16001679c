"""What the command line gives to every section."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.figures import Figure


@dataclass(frozen=True)
class Options:
    """The seed of all random choices, and the size of a section: full, quick, or a count."""

    seed: int
    quick: bool = False
    size: int | None = None

    def count(self, full: int, quick: int) -> int:
        """How many runs, answers or ticks a section has."""
        return self.size or (quick if self.quick else full)

    def random(self, what: str) -> random.Random:
        """Random numbers of their own for each purpose, so that one section does not shift those of another."""
        return random.Random(f"{self.seed} {what}")


Section = Callable[[Options], Iterator[Figure]]
