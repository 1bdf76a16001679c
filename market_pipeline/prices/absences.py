"""What an answer about the past proves: which stretches it covered and where the source itself has
no price. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from market_pipeline.prices.gaps import Interval, without


@dataclass(frozen=True)
class Answered:
    """CoinGecko answered for `span` of `coin_id`, the coin of `symbol`, with prices or without."""

    symbol: str
    coin_id: str
    span: Interval


@dataclass(frozen=True)
class Absence:
    """The source has no price of `coin_id` (the coin of `symbol`) in `span`.

    `evidence` is one sentence about the request and its answer, `found_at` (aware UTC) when it was
    asked.
    """

    symbol: str
    coin_id: str
    span: Interval
    evidence: str
    found_at: datetime


def still_valid(
    remembered: Iterable[Absence],
    answered: Sequence[Interval],
    times: Sequence[datetime],
    found: Sequence[Absence],
) -> list[Absence]:
    """What remains of the `remembered` absences of one coin after a newer answer.

    Where the newer answer covers (`answered`) an absence that it contradicts with a price at one of
    `times`, or confirms with one of `found`, the older one gives way. Absences that it says nothing
    of stay: hourly history cannot judge a silence of minutes.
    """
    kept: list[Absence] = []
    for old in remembered:
        contradicted = any(old.span.start < time < old.span.end for time in times)
        confirmed = any(old.span.overlaps(new.span) for new in found)
        pieces = without([old.span], answered) if contradicted or confirmed else [old.span]
        kept.extend(replace(old, span=piece) for piece in pieces)
    return kept
