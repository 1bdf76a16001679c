"""Keeps secrets out of the report, whose words may be those of drivers and servers."""

from collections.abc import Iterable
from dataclasses import replace

from market_pipeline.doctor.finding import Finding
from market_pipeline.masking import Masker


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
