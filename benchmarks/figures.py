"""One figure of the report, and how a list of them is printed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured value and the bar it is held against; `bar` 0 means that there is none."""

    name: str
    value: float
    unit: str
    bar: float = 0.0
    at_least: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        if not self.bar:
            return ""
        good = self.value >= self.bar if self.at_least else self.value <= self.bar
        return "ok" if good else "MISSED"

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        bar = f"{sign} {self.bar:g}" if self.bar else ""
        return f"  {self.name:<58} {self.value:>12,.2f} {self.unit:<8} {bar:<8} {self.verdict:<7} {self.note}"


Section = Callable[[], Iterator[Figure]]
