"""One figure of the report, and how a list of them is printed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured value and the bar it is held against; with `bar` None there is none."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def holds(self) -> bool:
        if self.bar is None:
            return True
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        return "ok" if self.holds else "MISSED"

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        bar = "" if self.bar is None else f"{sign} {self.bar:g}"
        return f"  {self.name:<58} {self.value:>12,.2f} {self.unit:<8} {bar:<8} {self.verdict:<7} {self.note}"


Section = Callable[[], Iterator[Figure]]
