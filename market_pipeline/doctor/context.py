"""What an examination works on, and the diagnosis that it yields."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from market_pipeline.core.clock import Clock, utc_now
from market_pipeline.core.wording import span
from market_pipeline.prices.clock_skew import CLOCK_REMEDY, is_wrong, skew_sentence
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database

if TYPE_CHECKING:
    import dagster as dg

T = TypeVar("T")
Status = Literal["ok", "warn", "fail"]
Number = int | float | str | None

_UNREMARKABLE_SECONDS = 5.0


class NotExamined(Exception):
    """An examination depends on something that the examination named `cause` did not find."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Found(Generic[T]):
    """An attribute set by the examination of this name; reading it earlier raises NotExamined."""

    def __init__(self, examination: str) -> None:
        self._examination = examination

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, context: "DoctorContext", owner: type) -> T:
        if self._name not in vars(context):
            raise NotExamined(self._examination)
        found: T = vars(context)[self._name]
        return found

    def __set__(self, context: "DoctorContext", value: T) -> None:
        vars(context)[self._name] = value


class DoctorContext:
    """An installation, its folder and environment, and what the examinations have found of it so far.

    `home` is a Dagster home that was used before, `skew` the seconds by which this machine's clock is ahead of
    CoinGecko's. `secrets` must not appear in any report; `causes` names for each examination that was not made the
    one that prevented it.
    """

    settings = Found[Settings]("settings")
    database = Found[Database]("database")
    home = Found[Path]("dagster home")
    instance: "Found[dg.DagsterInstance]" = Found("dagster instance")
    skew = Found[float]("api")

    def __init__(self, folder: Path, environment: Mapping[str, str], clock: Clock = utc_now) -> None:
        self.folder = folder
        self.environment = environment
        self.clock = clock
        self.secrets: list[str] = []
        self.causes: dict[str, str] = {}

    @property
    def env_file(self) -> Path:
        """The `.env` file of the folder, which need not exist."""
        return self.folder / ".env"

    @property
    def database_if_ready(self) -> Database | None:
        """The database, or None if it cannot be used."""
        return vars(self).get("database")

    def close(self) -> None:
        """Close what the examinations have opened."""
        for name in ("instance", "database"):
            # The report is complete by now, and a server that does not answer is in it.
            with suppress(Exception):
                if (opened := vars(self).get(name)) is not None:
                    opened.dispose()


@dataclass(frozen=True)
class Diagnosis:
    """One line of the report: what was examined, its status, what was found, and what to do.

    `numbers` holds the numbers of `detail` for programs. `because_of` names the examination whose result prevented
    this one.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""
    numbers: Mapping[str, Number] = field(default_factory=dict)
    because_of: str = ""


def ok(name: str, detail: str, **numbers: Number) -> Diagnosis:
    """Return the diagnosis that nothing needs to be done."""
    return Diagnosis(name, "ok", detail, numbers=numbers)


def warn(name: str, detail: str, remedy: str, **numbers: Number) -> Diagnosis:
    """Return a diagnosis that needs attention; the pipeline works, or was not started yet."""
    return Diagnosis(name, "warn", detail, remedy, numbers)


def fail(name: str, detail: str, remedy: str, **numbers: Number) -> Diagnosis:
    """Return a diagnosis with which the pipeline cannot work."""
    return Diagnosis(name, "fail", detail, remedy, numbers)


def not_examined(name: str, cause: str) -> Diagnosis:
    """Return the diagnosis that the result of the examination `cause` prevents this one."""
    detail, remedy = f"not examined, because of: {cause}", f"Fix '{cause}' first, then run doctor again."
    return Diagnosis(name, "warn", detail, remedy, because_of=cause)


def skew_diagnosis(name: str, whose: str, skew: float) -> Diagnosis:
    """Judge `skew`, the seconds by which this machine's clock is ahead of `whose`."""
    detail, numbers = skew_sentence(skew, whose), {"skew_seconds": round(skew, 3)}
    if abs(skew) < _UNREMARKABLE_SECONDS:
        return ok(name, detail, **numbers)
    if not is_wrong(skew):
        return warn(name, detail, f"{CLOCK_REMEDY}.", **numbers)
    limit = span(FUTURE_TOLERANCE)
    return fail(name, f"{detail}: beyond {limit}, prices are refused or misdated", f"{CLOCK_REMEDY}.", **numbers)
