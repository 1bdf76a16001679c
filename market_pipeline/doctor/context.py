"""What is examined, and what the examinations have learned about it so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from market_pipeline.core.clock import Clock, utc_now
from market_pipeline.core.wording import span
from market_pipeline.prices.clock_skew import CLOCK_REMEDY, is_wrong, skew_sentence
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database

if TYPE_CHECKING:
    import dagster as dg


@dataclass
class Subject:
    """An installation: its folder, its environment and its time.

    `settings` is there once they were found valid, `database` once it was found ready, `home` and
    `instance` once Dagster's own storage was found and opened,
    `skew` (seconds by which this machine's clock is ahead of the server's) once the API has answered.
    `secrets` must not be in any report.
    """

    folder: Path
    environment: Mapping[str, str]
    clock: Clock = utc_now
    settings: Settings | None = None
    database: Database | None = None
    home: Path | None = None
    instance: "dg.DagsterInstance | None" = None
    skew: float | None = None
    secrets: list[str] = field(default_factory=list)

    @property
    def without_instance(self) -> str:
        """The finding because of which there is no `instance`."""
        return "dagster home" if self.home is None else "dagster instance"

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"


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


_UNREMARKABLE_SECONDS = 5.0


def skew_finding(name: str, whose: str, skew: float) -> Finding:
    """A finding about `skew`, the seconds by which this machine's clock is ahead of `whose`."""
    numbers = {"skew_seconds": round(skew, 3)}
    detail = skew_sentence(skew, whose)
    remedy = f"{CLOCK_REMEDY}."
    if abs(skew) < _UNREMARKABLE_SECONDS:
        return ok(name, detail, **numbers)
    if not is_wrong(skew):
        return warn(name, detail, remedy, **numbers)
    return fail(
        name, f"{detail}: prices are refused or misdated from {span(FUTURE_TOLERANCE)} on", remedy, **numbers
    )
