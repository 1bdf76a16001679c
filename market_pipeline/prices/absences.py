"""Where the source was asked about the past and gave no prices: what an answer proves, and when to ask again.

Pure. An answer proves an absence if it shows that it covered the time. Any other silence proves nothing. Both
expire: a bad answer or late publication must not be believed for ever.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from market_pipeline.core.clock import iso
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import Coin
from market_pipeline.prices.gaps import Interval, gaps, last_settled_day, without
from market_pipeline.prices.validation import Examined

# After the first, second, ... time that the source gave no prices.
_WAITS = (
    timedelta(hours=3), timedelta(days=1), timedelta(days=3), timedelta(days=7), timedelta(days=30)
)
# What the source still lacks after this time is seldom published later.
_LATE_PUBLICATION = timedelta(days=7)
# No gap that matters is shorter.
_SLIVER = timedelta(minutes=10)


@dataclass(frozen=True)
class Answered:
    """CoinGecko answered for `span` of `coin_id`, the coin of `symbol`, with prices or without."""

    symbol: str
    coin_id: str
    span: Interval


@dataclass(frozen=True)
class Absence:
    """The source was asked for `span` of `coin_id` (the coin of `symbol`) and gave no price.

    `evidence` describes the request and its answer, `found_at` (aware UTC) is when it came, `proven` whether it
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
        """One sentence for messages, then the evidence."""
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
        """Whether it has not expired at `now`: the source need not be asked again yet."""
        return self.ask_again_at is not None and now < self.ask_again_at

    def scheduled(self) -> "Absence":
        """This absence with its time to ask again, which follows from how often the source was asked.

        A proven one that is old holds as long again: more is hardly published.
        """
        wait = _WAITS[min(self.times_asked, len(_WAITS)) - 1]
        age = self.found_at - self.span.end
        if self.proven and age > _LATE_PUBLICATION:
            wait = max(wait, age)
        return replace(self, ask_again_at=self.found_at + wait)


@dataclass(frozen=True)
class AnswerTimes:
    """The times in one answer for `asked`, from which follows what it proves.

    `times` are those of its accepted points, in order, `refused` what its other points claim (None where that
    cannot be read). Its points are `spacing` apart at most, unless some are absent. `until` is the source's clock.
    """

    asked: Interval
    times: Sequence[datetime]
    refused: Sequence[datetime | None]
    spacing: timedelta
    until: datetime

    @classmethod
    def of(cls, examined: Examined, asked: Interval, spacing: timedelta, until: datetime) -> "AnswerTimes":
        """Those of the `examined` points."""
        times = [quote.timestamp for quote in examined.quotes]
        refused = [refusal.timestamp for refusal in examined.refusals]
        # What was dropped may have been of any time.
        return cls(asked, times, [*refused, None] if examined.dropped else refused, spacing, until)

    def absences(self, coin: Coin, silence: Interval, evidence: str, came: datetime) -> list[Absence]:
        """What is to be remembered of a `silence` in this answer, which `came` then.

        Lone prices divide it, but prove no more than it as a whole does.
        """
        doubt = self.doubt(silence)
        words = f"{evidence} {doubt}".rstrip()
        parts = gaps(self.times, silence.start, silence.end, timedelta(0))
        return [Absence(coin.symbol, coin.coin_id, part, words, came, proven=not doubt) for part in parts]

    def doubt(self, gap: Interval) -> str:
        """Why the answer does not prove that the source has no price in `gap`; empty if it does."""
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
        """Whether a refused point may belong to `gap`: with a wrong unit it claims any other time."""
        return time is None or not self.asked.start <= time <= self.asked.end or gap.start < time < gap.end


def revised(
    remembered: Sequence[Absence],
    answered: Sequence[Interval],
    times: Sequence[datetime],
    found: Iterable[Absence],
) -> list[Absence]:
    """The absences of one coin after a newer answer: those of `remembered` that stay, and the `found` ones.

    `answered` is what the answer covers, `times` are those of its prices. A silence that proves nothing does not
    displace a proven absence that still holds.
    """
    new: list[Absence] = []
    for one in found:
        stronger = [
            old.span
            for old in remembered
            if old.proven and old.holds_at(one.found_at) and not _has_price(old.span, times)
        ]
        cut = [other.span for other in new] + ([] if one.proven else stronger)
        new += [part for piece in without([one.span], cut) for part in _following(one, piece, remembered)]
    return [*still_valid(remembered, answered, times, new), *new]


def _following(found: Absence, span: Interval, remembered: Iterable[Absence]) -> list[Absence]:
    """`found` within `span`, each part with its place in the sequence of answers without a price.

    A part that is new begins a sequence of its own. A tick and a request for settled days are different questions.
    """
    parts, left = [], [span]
    for old in remembered:
        if old.settled == found.settled:
            again = [piece.within(old.span) for piece in left if piece.overlaps(old.span)]
            parts += [_asked_again(replace(found, span=piece), old) for piece in again]
            left = without(left, [old.span])
    return parts + [replace(found, span=piece).scheduled() for piece in left if piece.length > _SLIVER]


def _asked_again(found: Absence, old: Absence) -> Absence:
    """`found` after `old`. Asking early neither counts nor postpones, or impatience would delay the automation."""
    found = replace(found, times_asked=old.times_asked, first_found_at=old.since, ask_again_at=old.ask_again_at)
    return found if old.holds_at(found.found_at) else replace(found, times_asked=old.times_asked + 1).scheduled()


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
        confirmed = any(old.span.overlaps(new.span) for new in found)
        gives_way = confirmed or _has_price(old.span, times)
        pieces = without([old.span], answered) if gives_way else [old.span]
        kept.extend(replace(old, span=piece) for piece in pieces)
    return kept


def _has_price(span: Interval, times: Iterable[datetime]) -> bool:
    return any(span.start < time < span.end for time in times)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
