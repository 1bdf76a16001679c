"""The checks `history_is_complete_<SYMBOL>`: whether the past days of a symbol have the prices that the
source has; and `prices_are_of_one_coin`. One step measures all symbols."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import dagster as dg

from market_pipeline.clock import utc_now
from market_pipeline.defs.check_names import ONE_COIN
from market_pipeline.defs.log_fields import logged_step
from market_pipeline.defs.price_coverage import PRICE_COVERAGE
from market_pipeline.defs.resources import DatabaseResource
from market_pipeline.symbols import Catalogue


def build_history_checks(catalogue: Catalogue, history_start: date) -> dg.AssetChecksDefinition:
    """One check for each coin of `catalogue`, of its days from `history_start` on, and one for all."""
    symbols = history_check_names(catalogue.symbols)

    @dg.multi_asset_check(name="check_history", specs=_specs(symbols), can_subset=True)
    @logged_step
    def check_history(
        context: dg.AssetCheckExecutionContext, database: DatabaseResource
    ) -> Iterator[dg.AssetCheckResult]:
        from market_pipeline.defs.history_verdicts import coin_verdict, verdicts

        store, now = database.database(), utc_now()
        selected = {key.name for key in context.selected_asset_check_keys}
        asked = {name: symbol for name, symbol in symbols.items() if name in selected}
        coins = Catalogue([catalogue.coin(symbol) for symbol in asked.values()])
        yield from verdicts(store, coins, history_start, asked, now)
        if ONE_COIN in selected:
            yield coin_verdict(store, catalogue, history_start, now)

    return check_history


def history_check_names(symbols: Sequence[str]) -> dict[str, str]:
    """The symbol of each check by the check's name, in which only letters, digits and _ may stand.

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
            "except where an answer proved that the source has none itself.",
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
