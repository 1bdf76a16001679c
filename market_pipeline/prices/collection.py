"""What comes of a collection, and how it is gathered from one answer after another."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from market_pipeline.coingecko.errors import CoinGeckoError
from market_pipeline.prices.absences import Absence, Answered
from market_pipeline.prices.quotes import Quote, Refusal
from market_pipeline.prices.validation import Examined


@dataclass(frozen=True)
class Collected:
    """Everything that came of one collection.

    `quotes` are sorted by symbol and time, each time of a symbol once; each refusal is there once.
    `unasked` are coin ids that were in an answer although nobody asked for them, `requests` counts
    the HTTP requests sent, retries included, and `failures` holds the first error of each symbol of
    which at least one request failed; its other quotes are here all the same.

    `clock_skew` is by how many seconds our clock was ahead of the source's at its last answer, None if it named no
    time. `answered` are the stretches of the past that CoinGecko answered for, `absences` those of them in
    which it has no prices itself. `filled` are the quotes that fill holes of the last day, and
    `unfilled` says why the holes of a symbol are still there.
    """

    quotes: tuple[Quote, ...]
    refusals: tuple[Refusal, ...]
    unasked: tuple[str, ...]
    requests: int
    failures: Mapping[str, CoinGeckoError]
    answered: tuple[Answered, ...] = ()
    absences: tuple[Absence, ...] = ()
    filled: tuple[Quote, ...] = ()
    unfilled: Mapping[str, str] = field(default_factory=dict)
    clock_skew: float | None = None

    def with_filled(self, fill: "Collected") -> "Collected":
        """This collection and the `fill` of its symbols' holes, which shares no quote with it."""
        return replace(
            self,
            quotes=tuple(sorted([*self.quotes, *fill.quotes], key=lambda quote: (quote.symbol, quote.timestamp))),
            refusals=self.refusals + fill.refusals,
            requests=self.requests + fill.requests,
            answered=self.answered + fill.answered,
            absences=self.absences + fill.absences,
            filled=fill.filled,
            unfilled=fill.unfilled,
        )


@dataclass
class Progress:
    """What has come so far, each quote and each refusal once: neighbouring windows share a midnight."""

    quotes: dict[tuple[str, datetime], Quote] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    unasked: tuple[str, ...] = ()
    failures: dict[str, CoinGeckoError] = field(default_factory=dict)
    answered: list[Answered] = field(default_factory=list)
    absences: list[Absence] = field(default_factory=list)

    def keep(self, examined: Examined) -> None:
        """Add what became of the points of one answer."""
        self.quotes.update(((quote.symbol, quote.timestamp), quote) for quote in examined.quotes)
        self.refusals.update((refusal.id, refusal) for refusal in examined.refusals)

    def fail(self, symbols: Iterable[str], error: CoinGeckoError) -> None:
        """Remember the first error of each symbol; later ones add nothing that a person needs."""
        for symbol in symbols:
            self.failures.setdefault(symbol, error)

    def collected(self, requests: int, clock_skew: float | None = None) -> Collected:
        """The whole, after so many HTTP requests."""
        return Collected(
            quotes=tuple(self.quotes[key] for key in sorted(self.quotes)),
            refusals=tuple(self.refusals.values()),
            unasked=self.unasked,
            requests=requests,
            failures=self.failures,
            answered=tuple(self.answered),
            absences=tuple(self.absences),
            clock_skew=clock_skew,
        )
