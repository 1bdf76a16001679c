"""Whose limit a request counts against."""

import hashlib
from dataclasses import dataclass

from market_pipeline.settings import Plan


@dataclass(frozen=True)
class Account:
    """A plan at a host (with its port where the URL names one), told apart by a digest of its key."""

    plan: Plan
    host: str
    key_digest: str = ""

    @property
    def name(self) -> str:
        """What the tables and messages call it; it holds nothing of the key that could be used."""
        key = f"#{self.key_digest}" if self.key_digest else ""
        return f"{self.plan}@{self.host}{key}"


def digest(key: str) -> str:
    """Twelve hexadecimal digits that tell keys apart and lead back to none."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]
