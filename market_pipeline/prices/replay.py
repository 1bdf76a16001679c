"""Judging refused points again by the rules of today. Pure functions.

A point is read back from the part of the answer that was kept with its refusal, and judged as of the
time at which that answer came: what lay in the future then was no price, however much time has passed.
Only what was in the future for a clock that was behind is judged by the clock of today.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from market_pipeline.clock import DAY, start_of_day
from market_pipeline.coingecko.models import RawPoint, chart_points, price_points
from market_pipeline.prices.quotes import Quote, Reason, Refusal, Source
from market_pipeline.prices.validate import examine
from market_pipeline.symbols import Coin


@dataclass(frozen=True)
class Verdicts:
    """What became of each refusal.

    `accepted` are now quotes, `renamed` are refused for another reason than before (old refusal, new
    refusal), `unchanged` are refused for the same, and of `unreadable` the kept part of the answer is
    cut or no point.
    """

    accepted: list[tuple[Refusal, Quote]] = field(default_factory=list)
    renamed: list[tuple[Refusal, Refusal]] = field(default_factory=list)
    unchanged: list[Refusal] = field(default_factory=list)
    unreadable: list[Refusal] = field(default_factory=list)

    @property
    def refused(self) -> list[Refusal]:
        """Everything that stays in quarantine, as it is refused now."""
        return [*(new for _, new in self.renamed), *self.unchanged, *self.unreadable]


def judge_again(refusals: Iterable[Refusal], now: datetime) -> Verdicts:
    """Judge each of `refusals`; an accepted one is a quote that is learned `now` (aware UTC).

    A point of history must lie in the day it is filed under, because a price of another day was
    never asked for; a live price has a time of its own.
    """
    verdicts = Verdicts()
    for refusal in refusals:
        point = _read(refusal)
        if point is None:
            verdicts.unreadable.append(refusal)
            continue
        start = start_of_day(refusal.day)
        by_clock = refusal.reason is Reason.CLOCK_BEHIND
        examined = examine(
            [point],
            coin=Coin(refusal.symbol, refusal.coin_id),
            days=[refusal.day],
            now=max(now, refusal.refused_at) if by_clock else refusal.refused_at,
            source=refusal.source,
            window=(start, start + DAY) if refusal.source is Source.HISTORY else None,
        )
        if examined.quotes:
            verdicts.accepted.append((refusal, replace(examined.quotes[0], ingested_at=now)))
        elif by_clock or examined.refusals[0].reason is refusal.reason:
            verdicts.unchanged.append(refusal)
        else:
            verdicts.renamed.append((refusal, examined.refusals[0]))
    return verdicts


def _read(refusal: Refusal) -> RawPoint | None:
    """The point in the payload, None if it cannot be read back."""
    try:
        part = json.loads(refusal.payload)
    except (ValueError, RecursionError):
        return None
    if refusal.source is Source.HISTORY:
        points = chart_points([part], "") if isinstance(part, list) else ()
    elif isinstance(part, dict) and len(part) == 1:
        points = price_points(part, tuple(part)).points
    else:
        points = ()
    # The payload stays what the server sent, to the letter.
    return replace(points[0], payload=refusal.payload) if points else None
