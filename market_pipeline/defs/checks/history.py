"""The checks of the past days: `history_is_complete_<SYMBOL>` and `prices_are_of_one_coin`, all in one step."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg

from market_pipeline.core.clock import iso, utc_now
from market_pipeline.core.program import command
from market_pipeline.core.symbols import Catalogue
from market_pipeline.core.wording import counted
from market_pipeline.defs.assets.price_coverage import PRICE_COVERAGE
from market_pipeline.defs.assets.table_metadata import records_table
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.pipeline.missing_days import PastDays, past_days
from market_pipeline.pipeline.names import ONE_COIN
from market_pipeline.pipeline.other_coins import other_coins
from market_pipeline.prices.absences import Absence
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import DayCoverage

_TABLE_ROWS = 20
_HOUR = timedelta(hours=1)


def build_history_checks(catalogue: Catalogue, history_start: date) -> dg.AssetChecksDefinition:
    """Define a check for each coin of `catalogue`, of its days from `history_start` on, and one for all."""
    symbols = history_check_names(catalogue.symbols)

    @dg.multi_asset_check(name="check_history", specs=_specs(symbols), can_subset=True)
    @logged_step
    def check_history(
        context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.AssetCheckResult]:
        now = utc_now()
        selected = {key.name for key in context.selected_asset_check_keys}
        checks = {name: symbol for name, symbol in symbols.items() if name in selected}
        coins = Catalogue([catalogue.coin(symbol) for symbol in checks.values()])
        yield from history_results(database, coins, history_start, checks, now)
        if ONE_COIN in selected:
            yield one_coin_result(database, catalogue, history_start, now)

    return check_history


def history_check_names(symbols: Sequence[str]) -> dict[str, str]:
    """Map the name of each check, in which Dagster allows letters, digits and _ only, to its symbol.

    Symbols that differ in nothing else get a number, in the order of `symbols`.
    """
    names: dict[str, str] = {}
    for symbol in symbols:
        name = plain = "history_is_complete_" + re.sub(r"[^A-Za-z0-9]", "_", symbol)
        number = 2
        while name in names:
            name, number = f"{plain}_{number}", number + 1
        names[name] = symbol
    return names


def _specs(symbols: Mapping[str, str]) -> list[dg.AssetCheckSpec]:
    of_symbols = [
        dg.AssetCheckSpec(
            name,
            asset=PRICE_COVERAGE,
            description=f"Every past day of {symbol} in the last 90 has prices without a gap of more than two hours, "
            "except where an answer proved that the source itself has none.",
        )
        for name, symbol in symbols.items()
    ]
    one_coin = dg.AssetCheckSpec(
        ONE_COIN,
        asset=PRICE_COVERAGE,
        description="Where prices of a symbol are stored under a former coin id, their days have prices of the "
        "present coin too.",
    )
    return [*of_symbols, one_coin]


def history_results(
    database: Database, coins: Catalogue, history_start: date, checks: Mapping[str, str], now: datetime
) -> Iterator[dg.AssetCheckResult]:
    """Yield a result for each of `checks` (name to symbol of `coins`), measured from `history_start` on at `now`."""
    history = {past.symbol: past for past in past_days(database, coins, history_start, now)}
    for name, symbol in checks.items():
        past = history[symbol]
        yield dg.AssetCheckResult(
            passed=past.stored and not past.missing,
            check_name=name,
            asset_key=PRICE_COVERAGE,
            severity=dg.AssetCheckSeverity.WARN,
            description=_sentence(past),
            metadata=_metadata(past),
        )


def one_coin_result(
    database: Database, coins: Catalogue, history_start: date, now: datetime
) -> dg.AssetCheckResult:
    """Return whether the days of former coins have prices of the present ones."""
    others = other_coins(database, coins, history_start, now)
    sentences = [f"{other}{'; ' if other.remedy else ''}{other.remedy}." for other in others]
    return dg.AssetCheckResult(
        passed=not any(other.missing for other in others),
        check_name=ONE_COIN,
        asset_key=PRICE_COVERAGE,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(sentences) or "Every stored price of a symbol is of its configured coin.",
        metadata={
            "prices_of_other_coins": sum(other.prices for other in others),
            "days_without_the_present_coin": sum(len(other.missing) for other in others),
        },
    )


def _metadata(past: PastDays) -> dict[str, Any]:
    if not past.stored:
        return {"points": 0}
    lacking = [covered for covered in past.measured if covered.day in set(past.missing)]
    return {
        "expected_points": past.expected_points,
        "points": past.points,
        "days": len(past.measured),
        "days_incomplete": len(past.missing),
        "largest_gap_hours": past.largest_gap / _HOUR,
        "incomplete_days": records_table([_day(covered) for covered in lacking[:_TABLE_ROWS]]),
        "known_source_gaps": records_table([_gap(absence) for absence in past.source_gaps[:_TABLE_ROWS]]),
    }


def _sentence(past: PastDays) -> str:
    symbol, days, missing = past.symbol, len(past.measured), past.missing
    if not past.stored:
        return (
            f"No price of {symbol} is stored. Check that tick_schedule is running and compare the coin's id in "
            "MARKET_SYMBOLS with CoinGecko's list."
        )
    if not days:
        return f"The prices of {symbol} begin today; no day has ended yet."
    if not missing:
        return f"{symbol} has all prices of {counted(days, 'past day')} that the source has."
    waiting = len(missing) - len(past.due)
    no_answer = (
        f"CoinGecko returned no prices for {waiting} of them; known_source_gaps shows when they are requested again. "
        if waiting
        else ""
    )
    again = " --again" if waiting else ""
    backfill = command(f"backfill --from {missing[0]} --to {missing[-1]} --symbols {symbol}{again}")
    return (
        f"{symbol} lacks prices on {len(missing)} of {counted(days, 'past day')}, {missing[0]} to {missing[-1]}. "
        f"{no_answer}The repair sensor, if it is on, requests days of the last 30 and older ones without any price; "
        f"for others, or at once: {backfill}."
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
        "proven": absence.proven,
        "since": iso(absence.since),
        "ask_again": iso(absence.ask_again_at) if absence.ask_again_at else "at once",
        "evidence": absence.evidence,
    }
