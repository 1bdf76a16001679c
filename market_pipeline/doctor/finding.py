"""What an examination found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["ok", "warn", "fail"]
Number = int | float | str | None


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, how it is, what was found, and what to do.

    `numbers` repeats for a program what `detail` tells a person. `because_of` names the finding that
    kept this one from being examined at all.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""
    numbers: Mapping[str, Number] = field(default_factory=dict)
    because_of: str = ""


def ok(name: str, detail: str, **numbers: Number) -> Finding:
    """Nothing to do."""
    return Finding(name, "ok", detail, numbers=numbers)


def warn(name: str, detail: str, remedy: str, **numbers: Number) -> Finding:
    """To be looked at; the pipeline works, or was not started yet."""
    return Finding(name, "warn", detail, remedy, numbers)


def fail(name: str, detail: str, remedy: str, **numbers: Number) -> Finding:
    """Keeps the pipeline from its work."""
    return Finding(name, "fail", detail, remedy, numbers)


def not_examined(name: str, cause: str) -> Finding:
    """What could not be looked at because of another finding."""
    detail, remedy = f"not examined, because of: {cause}", f"Mend '{cause}' first, then ask again."
    return Finding(name, "warn", detail, remedy, because_of=cause)


def worst(findings: list[Finding]) -> Status:
    """The status of the whole."""
    statuses = {finding.status for finding in findings}
    return "fail" if "fail" in statuses else "warn" if "warn" in statuses else "ok"
