"""What `history_is_complete` says of a symbol: the measure of its past days, and what to do."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from market_pipeline.clock import iso, start_of_day
from market_pipeline.defs.metadata import records_table
from market_pipeline.defs.raw_prices import RAW_PRICES
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.slices import Slice
from market_pipeline.storage.completeness import incomplete_days
from market_pipeline.storage.coverage import DayCoverage, day_coverage, first_days
from market_pipeline.storage.engine import Database
from market_pipeline.storage.source_gaps import remembered
from market_pipeline.symbols import Catalogue

_LONGEST_LOOK = timedelta(days=90)
_TABLE_ROWS = 20
_HOUR = timedelta(hours=1)


def verdicts(
    store: Database, coins: Catalogue, checks: Mapping[str, str], now: datetime
) -> Iterator[dg.AssetCheckResult]:
    """One result for each of `checks` (name to symbol) about the `coins` of these symbols.

    A symbol is measured from the day of its first stored price, at most 90 days back, to the last
    day that had ended an hour before `now`.
    """
    last = last_settled_day(now)
    begun = first_days(store, coins.symbols)
    first = {symbol: max(day, last - _LONGEST_LOOK + timedelta(days=1)) for symbol, day in begun.items()}
    earliest = min(first.values(), default=last)
    missing = incomplete_days(store, coins, earliest, last, now)
    for name, symbol in checks.items():
        if symbol not in first:
            yield _empty(name, symbol)
            continue
        days = [day for day, of in missing if of == symbol and day >= first[symbol]]
        measured = day_coverage(store, [Slice(symbol, first[symbol], last)]) if first[symbol] <= last else []
        start, end = start_of_day(first[symbol]), start_of_day(last) + timedelta(days=1)
        known = remembered(store, [coins.coin(symbol)], start, end)
        yield _result(name, symbol, measured, days, known)


def _empty(name: str, symbol: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False,
        check_name=name,
        asset_key=RAW_PRICES,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"points": 0},
        description=f"No price of {symbol} is stored at all. See that tick_schedule is running and compare the "
        "coin's id in MARKET_SYMBOLS with CoinGecko's list.",
    )


def _result(
    name: str, symbol: str, measured: Sequence[DayCoverage], missing: Sequence[date], known: Sequence[Absence]
) -> dg.AssetCheckResult:
    lacking = [covered for covered in measured if covered.day in set(missing)]
    return dg.AssetCheckResult(
        passed=not missing,
        check_name=name,
        asset_key=RAW_PRICES,
        severity=dg.AssetCheckSeverity.WARN,
        description=_sentence(symbol, len(measured), missing),
        metadata={
            "expected_points": sum(covered.expected for covered in measured),
            "points": sum(covered.points for covered in measured),
            "days": len(measured),
            "days_incomplete": len(missing),
            "largest_gap_hours": max((covered.largest_gap / _HOUR for covered in measured), default=0.0),
            "incomplete_days": records_table([_day(covered) for covered in lacking[:_TABLE_ROWS]]),
            "known_source_gaps": records_table([_gap(absence) for absence in known[:_TABLE_ROWS]]),
        },
    )


def _sentence(symbol: str, days: int, missing: Sequence[date]) -> str:
    if not days:
        return f"The prices of {symbol} begin today; no day has ended yet."
    if not missing:
        return f"{symbol} has the prices of {days} past days, as far as the source has them."
    return (
        f"{symbol} lacks prices on {len(missing)} of {days} past days, {missing[0]} to {missing[-1]}. The repair "
        "sensor asks for days of the last 30 by itself, if it is switched on; for older ones, or at once: "
        f"make backfill FROM={missing[0]} TO={missing[-1]} SYMBOLS={symbol}."
    )


def _day(covered: DayCoverage) -> dict[str, object]:
    return {
        "day": covered.day.isoformat(),
        "points": covered.points,
        "expected": covered.expected,
        "largest_gap_hours": round(covered.largest_gap / _HOUR, 2),
    }


def _gap(absence: Absence) -> dict[str, object]:
    return {
        "from": iso(absence.span.start),
        "to": iso(absence.span.end),
        "hours": round(absence.span.length / _HOUR, 2),
        "evidence": absence.evidence,
    }
