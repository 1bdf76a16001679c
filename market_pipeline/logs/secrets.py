"""The secrets of this process, which no line of it may show."""

from collections.abc import Iterable

from market_pipeline.masking import Masker

_masker = Masker()


def masker() -> Masker:
    """Hides what this process knows to be secret."""
    return _masker


def keep_secret(secrets: Iterable[str]) -> None:
    """Hide `secrets` from now on, beside those known before."""
    global _masker
    _masker = Masker({*_masker.secrets, *secrets})
