"""What is stored of a day: counts per day and symbol. Pure; the stored keys come from the caller."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime

from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.prices.quotes import Quote, Refusal


def quotes_by_day(stored: Iterable[tuple[str, datetime]], arriving: Iterable[Quote]) -> Counter[DayOfSymbol]:
    """Rows per (UTC day, symbol) once `arriving` quotes are upserted over the `stored` keys.

    `stored` holds (symbol, aware UTC timestamp); a quote at a stored key adds no row.
    """
    keys = set(stored)
    keys.update((quote.symbol, quote.timestamp) for quote in arriving)
    return Counter((timestamp.date(), symbol) for symbol, timestamp in keys)


def changes_by_day(
    stored: Mapping[tuple[str, datetime], float], arriving: Iterable[Quote]
) -> Counter[DayOfSymbol]:
    """Arriving quotes per (UTC day, symbol) whose time is stored with another price.

    `stored` maps (symbol, aware UTC timestamp) to the price in US dollars.
    """
    return Counter(
        (quote.timestamp.date(), quote.symbol)
        for quote in arriving
        if stored.get((quote.symbol, quote.timestamp), quote.price) != quote.price
    )


def refusals_by_day(
    stored: Iterable[tuple[str, date, str]], arriving: Iterable[Refusal]
) -> Counter[DayOfSymbol]:
    """Rows per (UTC day, symbol) once `arriving` refusals join the `stored` (id, day, symbol)."""
    keys = set(stored)
    keys.update((refusal.id, refusal.day, refusal.symbol) for refusal in arriving)
    return Counter((day, symbol) for _, day, symbol in keys)
