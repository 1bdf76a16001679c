"""The report as a person reads it: aligned columns, what to do below each line that asks for something."""

import textwrap
from collections import Counter
from collections.abc import Iterator

from market_pipeline.doctor.finding import Finding, Status, warn
from market_pipeline.doctor.report import Report

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
