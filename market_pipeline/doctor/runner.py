"""Making every examination, each on its own and none for longer than it may take.

An examination that raises or hangs becomes a finding; the others are made all the same.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from market_pipeline.doctor.finding import Finding, fail, not_examined
from market_pipeline.doctor.subject import Subject
from market_pipeline.words import first_line

Examination = Callable[[Subject], Iterable[Finding]]


@dataclass(frozen=True)
class Group:
    """Examinations that are made one after the other, with a name each, in `seconds` at most altogether.

    `asks` is whose answer they wait for.
    """

    seconds: float
    asks: str
    examinations: Sequence[tuple[str, Examination]]


class Making:
    """A group that is being made in a thread of its own."""

    def __init__(self, group: Group, subject: Subject) -> None:
        self._group = group
        self._deadline = time.monotonic() + group.seconds
        self._findings: list[Finding] = []
        self._begun = 0
        # A daemon thread: one that hangs in a driver must not keep the command from ending.
        self._thread = threading.Thread(target=self._make, args=(subject,), name="doctor", daemon=True)
        self._thread.start()

    def findings(self) -> list[Finding]:
        """Wait for the end, at most until the group's time is up; what was found until then."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        found = list(self._findings)
        return found + self._unfinished() if self._thread.is_alive() else found

    def _make(self, subject: Subject) -> None:
        for name, examination in self._group.examinations:
            self._begun += 1
            self._findings += guarded(name, examination, subject)

    def _unfinished(self) -> list[Finding]:
        """What is said of the examination that hangs and of those that were to come after it."""
        names = [name for name, _ in self._group.examinations]
        hangs = names[max(0, self._begun - 1)]
        remedy = f"{self._group.asks} does not answer or keeps failing, or this machine is very busy."
        late = fail(hangs, f"no answer within {self._group.seconds:.0f} s", remedy)
        return [late, *(not_examined(name, hangs) for name in names[self._begun:])]


def guarded(name: str, examination: Examination, subject: Subject) -> list[Finding]:
    """What `examination` finds, and that it failed if it did."""
    found: list[Finding] = []
    try:
        found.extend(examination(subject))
    # Whatever it is, the person who asks is told of it and of everything else.
    except Exception as error:
        found.append(fail(
            name, f"this could not be examined: {type(error).__name__}: {first_line(str(error))}",
            "Do what the message says; if it says nothing useful, report it with this line.",
        ))
    return found
