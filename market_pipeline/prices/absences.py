"""Absences: times for which the source returned no prices; what its answer proves, and when to ask again.

Pure. An answer proves an absence if it shows that it covered the time; any other silence proves nothing. Both expire,
because an answer may be wrong or come before the prices are published.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from market_pipeline.core.clock import iso
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import Coin
from market_pipeline.prices.gaps import Interval, gaps, last_settled_day, without
from market_pipeline.prices.validation import Examined

# After the first, second, ... answer without prices.
_WAITS = (timedelta(hours=3), timedelta(days=1), timedelta(days=3), timedelta(days=7), timedelta(days=30))
# What the source still lacks after this time is seldom published later.
_LATE_PUBLICATION = timedelta(days=7)
# No gap that matters is shorter.
_SLIVER = timedelta(minutes=10)


@dataclass(frozen=True)
class Absence:
    """The source was asked for `span` of `coin_id` (the coin of `symbol`) and returned no price.

    `evidence` describes the request and its answer, `found_at` (aware UTC) is when it arrived, `proven` whether it
    covered the time. `first_found_at` (None: `found_at`) and `times_asked` count from the first such answer.
    `ask_again_at` is when to ask again, None for at once.
    """

    symbol: str
    coin_id: str
    span: Interval
    evidence: str
    found_at: datetime
    proven: bool = False
    times_asked: int = 1
    first_found_at: datetime | None = None
    ask_again_at: datetime | None = None

    @property
    def since(self) -> datetime:
        """When the source first gave no price here."""
        return self.first_found_at or self.found_at

    def __str__(self) -> str:
        """Describe it in one sentence, then give the evidence."""
        again = f"asked again from {_minute(self.ask_again_at)} on" if self.ask_again_at else "to be asked again now"
        return (
            f"{self.symbol} from {_minute(self.span.start)} to {_minute(self.span.end)}: no prices since "
            f"{_minute(self.since)}, {'proven' if self.proven else 'not proven'}, {again}. {self.evidence}"
        )

    @property
    def days(self) -> list[date]:
        """The UTC days that it reaches into."""
        return Slice(self.symbol, self.span.start.date(), (self.span.end - timedelta.resolution).date()).days

    @property
    def settled(self) -> bool:
        """Whether its days had been published when the source was asked, so that hourly history was due."""
        return last_settled_day(self.found_at) >= self.days[-1]

    def holds_at(self, now: datetime) -> bool:
        """Return whether it has not expired at `now`: the source need not be asked again yet."""
        return self.ask_again_at is not None and now < self.ask_again_at

    def scheduled(self) -> Absence:
        """Set the time to ask again, later with each answer without prices.

        A proven absence of long ago holds as long again: nothing more is likely to be published.
        """
        wait = _WAITS[min(self.times_asked, len(_WAITS)) - 1]
        age = self.found_at - self.span.end
        if self.proven and age > _LATE_PUBLICATION:
            wait = max(wait, age)
        return replace(self, ask_again_at=self.found_at + wait)


@dataclass(frozen=True)
class AnswerTimes:
    """The times in an answer for `asked`, which decide what it proves.

    `times` are the times of its accepted points, in order, `refused` the times that its other points claim (None where
    unreadable). Its points are at most `spacing` apart, unless some are absent. `until` is the source's clock.
    """

    asked: Interval
    times: Sequence[datetime]
    refused: Sequence[datetime | None]
    spacing: timedelta
    until: datetime

    @classmethod
    def of(cls, examined: Examined, asked: Interval, spacing: timedelta, until: datetime) -> AnswerTimes:
        """Take the times of the `examined` points."""
        times = [quote.timestamp for quote in examined.quotes]
        refused = [refusal.timestamp for refusal in examined.refusals]
        # Dropped refusals may be of any time.
        return cls(asked, times, [*refused, None] if examined.dropped else refused, spacing, until)

    def absences(self, coin: Coin, silence: Interval, evidence: str, received_at: datetime) -> list[Absence]:
        """Return the absences in a `silence` of this answer.

        Lone prices divide it, but prove no more than it does as a whole.
        """
        doubt = self.doubt(silence)
        words = f"{evidence} {doubt}".rstrip()
        parts = gaps(self.times, silence.start, silence.end, timedelta(0))
        return [Absence(coin.symbol, coin.coin_id, part, words, received_at, proven=not doubt) for part in parts]

    def doubt(self, gap: Interval) -> str:
        """Say why the answer does not prove that the source has no price in `gap`; empty if it does."""
        before = [time for time in self.times if time <= gap.start][-2:]
        after = [time for time in self.times if time >= gap.end][:2]
        if (after[0] if after else gap.end) > self.until:
            return f"By the source's clock it was {iso(self.until)}, before the end of this time."
        if not before or not after:
            return "It held no prices on both sides of this time, which may be published later."
        if any(len(side) < 2 or side[1] - side[0] > self.spacing for side in (before, after)):
            return "Its prices around this time are too far apart."
        if any(self._may_lie_in(gap, time) for time in self.refused):
            return "Some of its points were refused and may be of this time."
        return ""

    def _may_lie_in(self, gap: Interval, time: datetime | None) -> bool:
        """Return whether a refused point may belong to `gap`; with a wrong unit it claims any other time."""
        return time is None or not self.asked.start <= time <= self.asked.end or gap.start < time < gap.end


def revised(
    known: Sequence[Absence], answered: Sequence[Interval], times: Sequence[datetime], found: Iterable[Absence]
) -> list[Absence]:
    """Return the absences of one coin after a newer answer: the `known` ones that stay, and the `found` ones.

    The answer covers `answered` and its prices are of `times`. A silence that proves nothing does not displace a
    proven absence that still holds.
    """
    new: list[Absence] = []
    for absence in found:
        taken = [other.span for other in new]
        if not absence.proven:
            taken += [
                old.span
                for old in known
                if old.proven and old.holds_at(absence.found_at) and not _has_price(old.span, times)
            ]
        new += [part for span in without([absence.span], taken) for part in _continued(absence, span, known)]
    return [*still_valid(known, answered, times, new), *new]


def _continued(found: Absence, span: Interval, known: Iterable[Absence]) -> list[Absence]:
    """Return `found` within `span`, each part continuing the series of a known absence or beginning one.

    A tick and a request for settled days are different questions.
    """
    parts, rest = [], [span]
    for old in known:
        if old.settled == found.settled:
            again = [piece.within(old.span) for piece in rest if piece.overlaps(old.span)]
            parts += [_asked_again(replace(found, span=piece), old) for piece in again]
            rest = without(rest, [old.span])
    return parts + [replace(found, span=piece).scheduled() for piece in rest if piece.length > _SLIVER]


def _asked_again(found: Absence, old: Absence) -> Absence:
    """Continue the series of `old`. An early request neither counts nor postpones, or it would delay automation."""
    found = replace(found, times_asked=old.times_asked, first_found_at=old.since, ask_again_at=old.ask_again_at)
    return found if old.holds_at(found.found_at) else replace(found, times_asked=old.times_asked + 1).scheduled()


def still_valid(
    known: Iterable[Absence], answered: Sequence[Interval], times: Sequence[datetime], found: Sequence[Absence]
) -> list[Absence]:
    """Return what a newer answer leaves of the `known` absences of one coin.

    Where it covers (`answered`) an absence that it contradicts with a price at one of `times`, or confirms with one
    of `found`, the older one is replaced. Others stay: hourly history cannot judge a silence of minutes.
    """
    valid: list[Absence] = []
    for old in known:
        confirmed = any(old.span.overlaps(new.span) for new in found)
        gives_way = confirmed or _has_price(old.span, times)
        pieces = without([old.span], answered) if gives_way else [old.span]
        valid.extend(replace(old, span=piece) for piece in pieces)
    return valid


def _has_price(span: Interval, times: Iterable[datetime]) -> bool:
    return any(span.start < time < span.end for time in times)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
