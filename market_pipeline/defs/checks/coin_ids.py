"""The check that CoinGecko still lists the configured coins by their ids.

It is a step of its own because it may send a request, once a day. If that fails the check only warns: the prices do
not depend on it.
"""

from collections.abc import Sequence

import dagster as dg

from market_pipeline.coingecko.errors import CoinGeckoError
from market_pipeline.coingecko.identity import Identity, suggested_symbols
from market_pipeline.core.clock import utc_now
from market_pipeline.core.program import command
from market_pipeline.core.symbols import Catalogue
from market_pipeline.defs.assets.price_coverage import PRICE_COVERAGE
from market_pipeline.defs.assets.table_metadata import SHOWN_SYMBOLS, records_table
from market_pipeline.defs.checks.results import from_symbols
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.defs.resources import CoinGeckoResource
from market_pipeline.pipeline.coin_ids import verify_identities
from market_pipeline.pipeline.names import LISTED
from market_pipeline.storage.engine import Database


def build_identity_check(catalogue: Catalogue) -> dg.AssetChecksDefinition:
    """Define the check of the coins in `catalogue`."""

    @dg.asset_check(
        asset=PRICE_COVERAGE,
        name=LISTED,
        description="CoinGecko lists every configured coin by its id, requested once a day. A vanished id is an "
        "error, a changed ticker warns; the likely new id is named.",
    )
    @logged_step
    def coin_ids_are_listed(
        context: dg.AssetCheckExecutionContext,
        coingecko: dg.ResourceParam[CoinGeckoResource],
        database: dg.ResourceParam[Database],
    ) -> dg.AssetCheckResult:
        try:
            with coingecko.client() as client:
                return _result(catalogue, verify_identities(client, database, catalogue, utc_now()))
        except CoinGeckoError as error:
            return dg.AssetCheckResult(
                passed=False,
                check_name=LISTED,
                asset_key=PRICE_COVERAGE,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"CoinGecko's list of coins is not available, so the ids were not checked: {error.verdict}",
                metadata={"verdict": error.verdict, "error": str(error)},
            )

    return coin_ids_are_listed


def _result(catalogue: Catalogue, identities: Sequence[Identity]) -> dg.AssetCheckResult:
    missing = [identity for identity in identities if not identity.listed]
    worst_first = sorted(identities, key=lambda identity: identity.listed)
    # A wrong id shows in CoinGecko's name.
    coins = [
        {"symbol": identity.symbol, "name": identity.listed_name or "unknown", "coin_id": identity.coin_id}
        for identity in worst_first[:SHOWN_SYMBOLS]
    ]
    return from_symbols(
        LISTED,
        {identity.symbol: identity.problem for identity in worst_first if identity.problem},
        severity=dg.AssetCheckSeverity.ERROR if missing else dg.AssetCheckSeverity.WARN,
        good="CoinGecko lists every coin by its configured id",
        remedy=_remedy(catalogue, missing),
        asset=PRICE_COVERAGE,
        more={"coins": records_table(coins)},
    )


def _remedy(catalogue: Catalogue, missing: Sequence[Identity]) -> str:
    if not missing:
        return "If it is, nothing has to be done."
    if not any(identity.likely_id for identity in missing):
        return "Look the coin up on coingecko.com and correct its entry in MARKET_SYMBOLS."
    line = suggested_symbols(list(catalogue), missing)
    commands = []
    for identity in missing:
        if identity.likely_id and f"{identity.symbol}={identity.likely_id}" in line.split(","):
            old = catalogue.coin(identity.symbol)
            new = old.with_source_id(identity.likely_id)
            commands.append(command(f"rename {old.symbol}={old.coin_id} {new.symbol}={new.coin_id}"))
    rename = f" To use the stored prices for it, run {', '.join(commands)}." if commands else ""
    return f"Look the coin up on coingecko.com; if that is right set MARKET_SYMBOLS={line} and start again.{rename}"
