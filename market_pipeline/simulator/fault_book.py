"""The faults that wait for the requests that they are meant for."""

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import fields
from typing import Any

from market_pipeline.simulator.faults import WHOLE_ANSWER, Fault


class FaultBook:
    """The faults that are waiting, in the order in which they were added; safe to use from any thread."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._waiting: list[tuple[Fault, int | None]] = [(fault, fault.times) for fault in faults]
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Let the next matching requests meet `fault`."""
        with self._lock:
            self._waiting.append((fault, fault.times))

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._waiting.clear()

    def take_whole(self, path: str, coin_ids: Collection[str]) -> Fault | None:
        """The first waiting fault of the whole answer that matches, counted as met."""
        taken = self._take(lambda fault: fault.kind in WHOLE_ANSWER and fault.matches(path, coin_ids), most=1)
        return taken[0] if taken else None

    def take_kinds(self, kinds: Collection[str], path: str, coin_ids: Collection[str]) -> list[Fault]:
        """Every waiting fault of `kinds` that matches, counted as met: one answer can hold several."""
        return self._take(lambda fault: fault.kind in kinds and fault.matches(path, coin_ids))

    def as_documents(self) -> list[dict[str, Any]]:
        """The waiting faults for the admin path, with `remaining` instead of the first `times`."""
        with self._lock:
            return [{**_described(fault), "remaining": remaining} for fault, remaining in self._waiting]

    def _take(self, wanted: Callable[[Fault], bool], most: int | None = None) -> list[Fault]:
        taken: list[Fault] = []
        left: list[tuple[Fault, int | None]] = []
        with self._lock:
            for fault, remaining in self._waiting:
                if (most is None or len(taken) < most) and wanted(fault):
                    taken.append(fault)
                    remaining = None if remaining is None else remaining - 1
                if remaining != 0:
                    left.append((fault, remaining))
            self._waiting = left
        return taken


def _described(fault: Fault) -> dict[str, Any]:
    """What was asked for: the kind, the status where it matters, and what differs from the defaults."""
    shown = {"kind", "status"} if fault.kind == "status" else {"kind"}
    return {
        field.name: getattr(fault, field.name)
        for field in fields(fault)
        if field.name in shown or (field.name != "times" and getattr(fault, field.name) != field.default)
    }
