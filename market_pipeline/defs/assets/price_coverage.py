"""The asset `price_coverage`: how complete the stored history is, as numbers that the UI plots over time.

The checks of the history belong to it: a check counts as evaluated only until its asset is materialized again, and
`raw_prices` is renewed by every tick.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg

from market_pipeline.core.clock import iso, utc_now
from market_pipeline.core.symbols import Catalogue
from market_pipeline.core.wording import counted, some
from market_pipeline.defs.assets.coingecko import COINS_LIST
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.assets.table_metadata import (
    EVERY_DAY,
    OWNERS,
    QUALITY,
    SHOWN_SYMBOLS,
    records_table,
    shown_note,
)
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.pipeline.missing_days import PastDays, past_days
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema

PRICE_COVERAGE = "price_coverage"

_HOUR = timedelta(hours=1)


def build_price_coverage(catalogue: Catalogue, history_start: date) -> dg.AssetsDefinition:
    """Define the unpartitioned measure of the past days of all coins in `catalogue`, from `history_start` on."""

    @dg.asset(
        name=PRICE_COVERAGE,
        description="How complete the stored history is: how many of the last 90 past days of each symbol are complete "
        "and how many lack prices, with points, largest gap and known gaps of the source, as numbers that the UI plots "
        "over time and as a table. A day lacks prices if it has a gap of more than two hours, unless an answer proved "
        "that the source itself has nothing there.",
        deps=[RAW_PRICES, COINS_LIST],
        group_name=QUALITY,
        owners=OWNERS,
        tags=EVERY_DAY,
        kinds={"report"},
    )
    @logged_step
    def price_coverage(
        context: dg.AssetExecutionContext, database: dg.ResourceParam[Database]
    ) -> dg.MaterializeResult[None]:
        check_schema(database)
        metadata = coverage_metadata(past_days(database, catalogue, history_start, utc_now()))
        return dg.MaterializeResult(metadata=metadata)

    return price_coverage


def coverage_metadata(history: Sequence[PastDays]) -> dict[str, Any]:
    """Return the metadata of one materialization about the past days of each symbol."""
    numbers = {past.symbol: _numbers(past) for past in history}
    shown = list(numbers)[:SHOWN_SYMBOLS]
    # With few symbols the table keeps the configured order.
    worst_first = sorted(history, key=lambda past: -len(past.missing) if len(history) > SHOWN_SYMBOLS else 0)
    totals = ("complete_days", "missing_days", "points", "source_gaps", "unproven_gaps")
    return {
        "summary": _sentence(history),
        **{name: sum(int(of[name]) for of in numbers.values()) for name in totals},
        **{f"{name}_{symbol}": numbers[symbol][name] for symbol in shown for name in numbers[symbol]},
        "symbols": records_table([_record(past, numbers[past.symbol]) for past in worst_first[:SHOWN_SYMBOLS]]),
        **shown_note(numbers),
    }


def _numbers(past: PastDays) -> dict[str, float]:
    """Return complete_days, missing_days, ...; the largest gap only if there is a day that could have one."""
    numbers: dict[str, float] = {
        "complete_days": len(past.measured) - len(past.missing),
        "missing_days": len(past.missing),
        "points": past.points,
        "source_gaps": len(past.source_gaps),
        "unproven_gaps": sum(not absence.proven for absence in past.source_gaps),
    }
    if past.measured:
        numbers["largest_gap_hours"] = round(past.largest_gap / _HOUR, 2)
    return numbers


def _record(past: PastDays, numbers: dict[str, float]) -> dict[str, Any]:
    first, last = (past.measured[0].day, past.measured[-1].day) if past.measured else ("-", "-")
    again = min((gap.ask_again_at for gap in past.source_gaps if gap.ask_again_at), default=None)
    return {
        "symbol": past.symbol,
        "first_day": first,
        "last_day": last,
        "largest_gap_hours": "-",
        **numbers,
        "asked_again": iso(again) if again else "-",
    }


def _sentence(history: Sequence[PastDays]) -> str:
    days = sum(len(past.measured) for past in history)
    missing = sum(len(past.missing) for past in history)
    text = (
        f"{days - missing} of {counted(days, 'past day')} of {counted(len(history), 'symbol')} are complete, as far as "
        "the source has them."
        if days
        else "No past day has prices yet."
    )
    if lacking := [f"{past.symbol} {len(past.missing)}" for past in history if past.missing]:
        text += f" Days that lack prices: {some(lacking)}."
    if silent := [past.symbol for past in history if not past.stored]:
        text += f" No prices at all: {some(silent)}."
    return text
