"""Keeps secrets out of the report, whose words may be those of drivers and servers."""

import re
from collections.abc import Iterable
from dataclasses import replace

from market_pipeline.doctor.finding import Finding, Number

HIDDEN = "(hidden)"

_PASSWORD_IN_URL = re.compile(r"(?<=://)([^\s/:@]*):([^\s/]+)@")
_KEY = re.compile(r"\bCG-[A-Za-z0-9_\-]{6,}")


def masked(finding: Finding, secrets: Iterable[str]) -> Finding:
    """`finding` without any of `secrets`, passwords in addresses and whatever looks like an API key."""
    known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    return replace(
        finding,
        detail=mask(finding.detail, known),
        remedy=mask(finding.remedy, known),
        numbers={name: _number(value, known) for name, value in finding.numbers.items()},
    )


def mask(text: str, secrets: Iterable[str]) -> str:
    """`text` with every secret blotted out."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return _KEY.sub(HIDDEN, _PASSWORD_IN_URL.sub(rf"\1:{HIDDEN}@", text))


def _number(value: Number, secrets: Iterable[str]) -> Number:
    return mask(value, secrets) if isinstance(value, str) else value
