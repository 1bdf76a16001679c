"""The checks of what is made from the prices: whether alarms are rare, and whether bars cover their days.

Both warn: nothing is wrong with the prices. That of the anomalies belongs to the calibration, which is made once a day;
each tick makes the anomalies of today anew and would make a check of them show as not evaluated.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.core.slices import DayOfSymbol, merge_days
from market_pipeline.core.symbols import Catalogue
from market_pipeline.core.wording import counted, some
from market_pipeline.defs.assets.daily_bars import DAILY_BARS
from market_pipeline.defs.assets.detector_calibration import DETECTOR_CALIBRATION
from market_pipeline.defs.checks.results import from_symbols
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.defs.partitions import checked_days
from market_pipeline.pipeline.names import COVERED, RARE
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.counts import alarms_by_severity
from market_pipeline.storage.rows.read import read_columns, rows_per_day
from market_pipeline.storage.schema.tables import daily_bars, raw_prices

_WEEK = timedelta(days=7)
# A calibrated coin has about one in three weeks.
_MOST_ALARMS = 14
_LEAST_COVERED = 0.5


def build_derived_checks(catalogue: Catalogue) -> list[dg.AssetChecksDefinition]:
    """Define both checks, of the coins in `catalogue`."""

    @dg.asset_check(
        asset=DETECTOR_CALIBRATION,
        name=RARE,
        description=f"No coin had more than {_MOST_ALARMS} alarms in the last seven days; one in about three weeks is "
        "usual.",
    )
    @logged_step
    def alarms_are_rare(
        context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[Database]
    ) -> dg.AssetCheckResult:
        return rarity_result(database, catalogue.symbols, utc_now())

    @dg.asset_check(
        asset=DAILY_BARS,
        name=COVERED,
        description=f"Every past day of the run that has prices has a bar, and quotes in {_LEAST_COVERED:.0%} of its "
        "hours.",
    )
    @logged_step
    def bars_cover_their_days(
        context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[Database]
    ) -> dg.AssetCheckResult:
        today = utc_now().date()
        week = [(today - n * DAY, symbol) for symbol in catalogue.symbols for n in range(1, 8)]
        return bars_result(database, [one for one in checked_days(context) or week if one[0] < today])

    return [alarms_are_rare, bars_cover_their_days]


def rarity_result(database: Database, symbols: Sequence[str], now: datetime) -> dg.AssetCheckResult:
    """Return a warning if a coin had more alarms in the week before `now` than a person reads."""
    counts: dict[str, int] = defaultdict(int)
    for (symbol, _), count in alarms_by_severity(database, symbols, now - _WEEK).items():
        counts[symbol] += count
    many = {symbol: count for symbol, count in counts.items() if count > _MOST_ALARMS}
    return from_symbols(
        RARE,
        {symbol: f"{counted(count, 'alarm')} in seven days" for symbol, count in sorted(many.items())},
        severity=dg.AssetCheckSeverity.WARN,
        good=f"{counted(sum(counts.values()), 'alarm')} of {counted(len(symbols), 'symbol')} in seven days",
        remedy="If the market was not that wild, mark the false ones as noise on the page of the symbol, and look at "
        "its quotes: too few of them, or prices in coarse steps.",
        asset=DETECTOR_CALIBRATION,
        more={"alarms_in_seven_days": sum(counts.values())},
    )


def bars_result(database: Database, days: Sequence[DayOfSymbol]) -> dg.AssetCheckResult:
    """Return a warning if one of `days`, which are over, has prices and no bar, or quotes in few of its hours."""
    slices = merge_days(days)
    prices = rows_per_day(database, raw_prices, slices)
    bars = read_columns(database, daily_bars, slices, columns=["symbol", "day", "completeness"])
    covered = {
        (day, symbol): share
        for symbol, day, share in zip(*(bars[name].tolist() for name in ("symbol", "day", "completeness")), strict=True)
    }
    missing: dict[str, list[date]] = defaultdict(list)
    sparse: dict[str, list[date]] = defaultdict(list)
    for day, symbol in days:
        if prices[day, symbol] and (day, symbol) not in covered:
            missing[symbol].append(day)
        elif covered.get((day, symbol), 1.0) < _LEAST_COVERED:
            sparse[symbol].append(day)
    problems = {symbol: f"no bar of {some(map(str, found))}" for symbol, found in missing.items()}
    problems |= {
        symbol: f"quotes in less than {_LEAST_COVERED:.0%} of the hours of {some(map(str, found))}"
        for symbol, found in sparse.items() if symbol not in problems
    }
    return from_symbols(
        COVERED,
        problems,
        severity=dg.AssetCheckSeverity.WARN,
        good=f"{counted(len(covered), 'bar')} of {counted(len(days), 'past day')}",
        remedy="Days without a bar get one from the repair sensor, if it is on. price_coverage shows whether CoinGecko "
        "has the missing hours.",
        asset=DAILY_BARS,
        more={"bars": len(covered)},
    )
