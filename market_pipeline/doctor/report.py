"""The whole: which examinations there are, in which order, and what they found."""

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
from market_pipeline.doctor.api import examine_api, examine_server_clock
from market_pipeline.doctor.budget import examine_budget, examine_schedule_cost
from market_pipeline.doctor.chain import examine_automation, examine_code_location, examine_daemons, examine_runs
from market_pipeline.doctor.context import Finding, Status, Subject, fail, not_examined, warn, worst
from market_pipeline.doctor.database import examine_database, examine_database_clock, examine_disk
from market_pipeline.doctor.home import examine_home, examine_instance
from market_pipeline.doctor.settings import examine_settings
from market_pipeline.doctor.stored_prices import (
    examine_absences,
    examine_coins,
    examine_freshness,
    examine_gaps,
    examine_refusals,
    examine_scores,
)
from market_pipeline.logs.redaction import Masker


def masked(finding: Finding, secrets: Iterable[str]) -> Finding:
    """`finding` without any of `secrets`, passwords in addresses and whatever looks like an API key."""
    masker = Masker(secrets)
    return replace(
        finding,
        detail=masker.text(finding.detail),
        remedy=masker.text(finding.remedy),
        numbers={
            name: masker.text(value) if isinstance(value, str) else value
            for name, value in finding.numbers.items()
        },
    )


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


# The budget is in the database, so the API comes after it; Dagster's storage is examined beside them.
_DATABASE = Group(7.0, "The database that DATABASE_URL names", [
    ("database", examine_database),
    ("disk space", examine_disk),
    ("database clock", examine_database_clock),
    ("newest quotes", examine_freshness),
    ("scores", examine_scores),
    ("gaps", examine_gaps),
    ("absent at the source", examine_absences),
    ("coins", examine_coins),
    ("refused rows", examine_refusals),
    ("schedule cost", examine_schedule_cost),
])
_API = Group(7.0, "CoinGecko, or what COINGECKO_BASE_URL names,", [
    ("api", examine_api),
    ("server clock", examine_server_clock),
    ("budget", examine_budget),
])
# Dagster asks a database that it cannot reach again and again, for up to 12.4 s, and only then says why.
_DAGSTER = Group(14.0, "The database that dagster.yaml names", [
    ("dagster instance", examine_instance),
    ("daemons", examine_daemons),
    ("schedules", examine_automation),
    ("runs", examine_runs),
])


@dataclass(frozen=True)
class Report:
    """What was found, in the order in which a person should read it, and when (UTC)."""

    examined_at: datetime
    findings: list[Finding]

    @property
    def status(self) -> Status:
        return worst(self.findings)


def make_report(folder: Path, environment: Mapping[str, str], clock: Clock = utc_now) -> Report:
    """Examine the installation in `folder` within about 20 seconds; no secret is in what is found."""
    subject = Subject(folder, environment, clock)
    at = clock()
    findings = guarded("settings", examine_settings, subject)
    in_database = Making(_DATABASE, subject)
    of_dagster = guarded("dagster home", examine_home, subject)
    # Importing Dagster takes this processor some seconds, which nothing that hangs can lengthen.
    of_dagster += guarded("code location", examine_code_location, subject)
    in_instance = Making(_DAGSTER, subject)
    findings += in_database.findings()
    findings += Making(_API, subject).findings() + of_dagster + in_instance.findings()
    return Report(at, [masked(finding, subject.secrets) for finding in findings])


def as_json(report: Report) -> str:
    """Status of the whole, when it was made (UTC), and each finding with its numbers."""
    document = {
        "status": report.status,
        "examined_at": iso(report.examined_at),
        "findings": [{**asdict(finding), "numbers": dict(finding.numbers)} for finding in report.findings],
    }
    return json.dumps(document, indent=2) + "\n"


_COLOURS: dict[Status, str] = {"ok": "\033[32m", "warn": "\033[33m", "fail": "\033[31m"}
_RESET = "\033[0m"
_STATUS_WIDTH = 6


def as_text(report: Report, width: int, coloured: bool) -> str:
    """Lines of at most `width` characters, as far as their words allow."""
    shown = [finding for finding in report.findings if not finding.because_of] + list(_not_examined(report))
    names = max((len(finding.name) for finding in shown), default=0) + 2
    lines = [line for finding in shown for line in _lines(finding, names, width, coloured)]
    counts = Counter("not examined" if found.because_of else found.status for found in report.findings)
    kinds = ("fail", "warn", "not examined", "ok")
    summary = ", ".join(f"{counts[kind]} {kind}" for kind in kinds if counts[kind])
    return "\n".join([*lines, "", summary, ""])


def _not_examined(report: Report) -> Iterator[Finding]:
    """One line for all that one finding kept from being examined."""
    for cause in dict.fromkeys(finding.because_of for finding in report.findings if finding.because_of):
        names = [finding.name for finding in report.findings if finding.because_of == cause]
        yield warn("not examined", f"because of '{cause}': {', '.join(names)}", "")


def _lines(finding: Finding, names: int, width: int, coloured: bool) -> Iterator[str]:
    indent = _STATUS_WIDTH + names
    room = max(30, width - indent)
    detail = textwrap.wrap(finding.detail, room, break_long_words=False, break_on_hyphens=False)
    remedy = textwrap.wrap(
        finding.remedy, room, initial_indent="-> ", subsequent_indent="   ", break_long_words=False,
        break_on_hyphens=False,
    )
    status = f"{finding.status:<{_STATUS_WIDTH}}"
    shown = f"{_COLOURS[finding.status]}{status}{_RESET}" if coloured else status
    first, *rest = [*detail, *remedy] or [""]
    yield f"{shown}{finding.name:<{names}}{first}"
    for line in rest:
        yield " " * indent + line
