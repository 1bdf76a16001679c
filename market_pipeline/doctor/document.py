"""The report for a program: one JSON document."""

import json
from dataclasses import asdict

from market_pipeline.clock import iso
from market_pipeline.doctor.report import Report


def as_json(report: Report) -> str:
    """Status of the whole, when it was made (UTC), and each finding with its numbers."""
    document = {
        "status": report.status,
        "examined_at": iso(report.examined_at),
        "findings": [{**asdict(finding), "numbers": dict(finding.numbers)} for finding in report.findings],
    }
    return json.dumps(document, indent=2) + "\n"
