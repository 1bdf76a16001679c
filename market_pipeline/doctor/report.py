"""The whole report: which examinations are made, in which order and time, and how the result is printed."""

import json
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from market_pipeline.core.clock import Clock, iso, utc_now
from market_pipeline.core.wording import first_line
from market_pipeline.doctor import alerts, coingecko, dagster, database, settings, stored_prices
from market_pipeline.doctor.context import Diagnosis, DoctorContext, NotExamined, Status, fail, not_examined, warn
from market_pipeline.logs.redaction import Masker

Examination = Callable[[DoctorContext], Iterable[Diagnosis]]


@dataclass(frozen=True)
class Report:
    """The diagnoses, in the order in which a person should read them, and when they were made (UTC)."""

    examined_at: datetime
    diagnoses: list[Diagnosis]

    @property
    def status(self) -> Status:
        """The worst status of all."""
        statuses = [diagnosis.status for diagnosis in self.diagnoses]
        return max(statuses, key=["ok", "warn", "fail"].index, default="ok")


@dataclass(frozen=True)
class Group:
    """Named examinations made one after the other, within `seconds` altogether; `server` is what they wait for."""

    seconds: float
    server: str
    examinations: Sequence[tuple[str, Examination]]


# The budget is in the database, so the API comes after it; Dagster's storage is examined at the same time.
_DATABASE = Group(7.0, "The database that DATABASE_URL names", [
    ("database", database.examine_database),
    ("disk space", database.examine_disk),
    ("database clock", database.examine_database_clock),
    ("connections", database.examine_connections),
    ("newest quotes", stored_prices.examine_freshness),
    ("scores", stored_prices.examine_scores),
    ("gaps", stored_prices.examine_gaps),
    ("absent at the source", stored_prices.examine_absences),
    ("coins", stored_prices.examine_coins),
    ("refused rows", stored_prices.examine_refusals),
    ("alerts", alerts.examine_alerts),
    ("schedule cost", coingecko.examine_schedule_cost),
])
_API = Group(7.0, "CoinGecko, or what COINGECKO_BASE_URL names,", [
    ("api", coingecko.examine_api),
    ("server clock", coingecko.examine_server_clock),
    ("budget", coingecko.examine_budget),
])
# Dagster retries a database that it cannot reach for up to 12.4 s before it reports why.
_DAGSTER = Group(14.0, "The database that dagster.yaml names", [
    ("dagster instance", dagster.examine_instance),
    ("daemons", dagster.examine_daemons),
    ("schedules", dagster.examine_automation),
    ("runs", dagster.examine_runs),
    ("storage", dagster.examine_storage),
])


def make_report(folder: Path, environment: Mapping[str, str], clock: Clock = utc_now) -> Report:
    """Examine the installation in `folder` within about 20 seconds; the report contains no secret."""
    context = DoctorContext(folder, environment, clock)
    at = clock()
    diagnoses = examine("settings", settings.examine_settings, context)
    in_database = RunningGroup(_DATABASE, context)
    of_dagster = examine("dagster home", dagster.examine_home, context)
    # Without a time limit: importing Dagster takes seconds of this processor, and waits for nothing else.
    of_dagster += examine("code location", dagster.examine_code_location, context)
    instance = RunningGroup(_DAGSTER, context)
    diagnoses += in_database.result()
    diagnoses += RunningGroup(_API, context).result() + of_dagster + instance.result()
    context.close()
    return Report(at, [masked(diagnosis, context.secrets) for diagnosis in diagnoses])


class RunningGroup:
    """A group that is being examined in a thread of its own."""

    def __init__(self, group: Group, context: DoctorContext) -> None:
        self._group = group
        self._context = context
        self._deadline = time.monotonic() + group.seconds
        self._diagnoses: list[Diagnosis] = []
        self._begun = 0
        # A daemon thread: if it hangs in a driver, the command must still end.
        self._thread = threading.Thread(target=self._run, name="doctor", daemon=True)
        self._thread.start()

    def result(self) -> list[Diagnosis]:
        """Wait for the end, but no longer than the group's time; return what was found until then."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        found = list(self._diagnoses)
        return found + self._unfinished() if self._thread.is_alive() else found

    def _run(self) -> None:
        for name, examination in self._group.examinations:
            self._begun += 1
            self._diagnoses += examine(name, examination, self._context)

    def _unfinished(self) -> list[Diagnosis]:
        """Report the examination that hangs, and those after it."""
        names = [name for name, _ in self._group.examinations]
        hangs = names[max(0, self._begun - 1)]
        remedy = f"{self._group.server} does not answer or keeps failing, or this machine is very busy."
        late = fail(hangs, f"no answer within {self._group.seconds:.0f} s", remedy)
        return [late, *(not_examined(name, hangs) for name in names[self._begun:])]


def examine(name: str, examination: Examination, context: DoctorContext) -> list[Diagnosis]:
    """Return what `examination` finds; if it cannot be made or raises, that is a diagnosis too."""
    found: list[Diagnosis] = []
    try:
        found.extend(examination(context))
    except NotExamined as error:
        cause = context.causes.get(error.cause, error.cause)
        context.causes[name] = cause
        found.append(not_examined(name, cause))
    # Any error: the report must be complete.
    except Exception as error:
        detail = f"this could not be examined: {type(error).__name__}: {first_line(str(error))}"
        found.append(fail(name, detail, "Follow the message. If it does not help, report it with this line."))
    return found


def masked(diagnosis: Diagnosis, secrets: Iterable[str]) -> Diagnosis:
    """Return `diagnosis` without any of `secrets`, passwords in addresses, and whatever looks like an API key."""
    hide = Masker(secrets).text
    numbers = {name: hide(value) if isinstance(value, str) else value for name, value in diagnosis.numbers.items()}
    return replace(diagnosis, detail=hide(diagnosis.detail), remedy=hide(diagnosis.remedy), numbers=numbers)


def as_json(report: Report) -> str:
    """Print the status of the whole, when it was examined (UTC), and each diagnosis with its numbers."""
    document = {
        "status": report.status,
        "examined_at": iso(report.examined_at),
        "findings": [{**asdict(diagnosis), "numbers": dict(diagnosis.numbers)} for diagnosis in report.diagnoses],
    }
    return json.dumps(document, indent=2) + "\n"


_COLOURS: dict[Status, str] = {"ok": "\033[32m", "warn": "\033[33m", "fail": "\033[31m"}
_RESET = "\033[0m"
_STATUS_WIDTH = 6


def as_text(report: Report, width: int, coloured: bool) -> str:
    """Print lines of at most `width` characters, unless a word is longer, and a summary."""
    shown = [diagnosis for diagnosis in report.diagnoses if not diagnosis.because_of] + list(_not_examined(report))
    names = max((len(diagnosis.name) for diagnosis in shown), default=0) + 2
    lines = [line for diagnosis in shown for line in _lines(diagnosis, names, width, coloured)]
    counts = Counter("not examined" if found.because_of else found.status for found in report.diagnoses)
    summary = ", ".join(f"{counts[kind]} {kind}" for kind in ("fail", "warn", "not examined", "ok") if counts[kind])
    return "\n".join([*lines, "", summary, ""])


def _not_examined(report: Report) -> Iterator[Diagnosis]:
    """Yield one line for each cause, with all that it prevented."""
    for cause in dict.fromkeys(diagnosis.because_of for diagnosis in report.diagnoses if diagnosis.because_of):
        names = [diagnosis.name for diagnosis in report.diagnoses if diagnosis.because_of == cause]
        yield warn("not examined", f"because of '{cause}': {', '.join(names)}", "")


def _lines(diagnosis: Diagnosis, names: int, width: int, coloured: bool) -> Iterator[str]:
    indent = _STATUS_WIDTH + names
    wrapper = textwrap.TextWrapper(max(30, width - indent), break_long_words=False, break_on_hyphens=False)
    detail = wrapper.wrap(diagnosis.detail)
    wrapper.initial_indent, wrapper.subsequent_indent = "-> ", "   "
    status = f"{diagnosis.status:<{_STATUS_WIDTH}}"
    if coloured:
        status = f"{_COLOURS[diagnosis.status]}{status}{_RESET}"
    first, *rest = [*detail, *wrapper.wrap(diagnosis.remedy)] or [""]
    yield f"{status}{diagnosis.name:<{names}}{first}"
    for line in rest:
        yield " " * indent + line
