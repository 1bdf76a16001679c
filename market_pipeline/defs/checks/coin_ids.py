"""The check that CoinGecko still lists the configured coins under their ids.

A step of its own, because it may ask CoinGecko, once a day; whatever goes wrong with that is only a
warning, since the prices do not depend on it.
"""

from collections.abc import Sequence

import dagster as dg

from market_pipeline.coingecko.errors import CoinGeckoError
from market_pipeline.coingecko.identity import Identity, suggested_symbols
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import Catalogue
from market_pipeline.defs.assets.price_coverage import PRICE_COVERAGE
from market_pipeline.defs.checks.results import from_symbols
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.defs.resources import CoinGeckoResource
from market_pipeline.pipeline.names import LISTED
from market_pipeline.storage.engine import Database


def build_identity_check(catalogue: Catalogue) -> dg.AssetChecksDefinition:
    """The check of the coins in `catalogue`."""

    @dg.asset_check(
        asset=PRICE_COVERAGE,
        name=LISTED,
        description="CoinGecko lists every configured coin by its id, asked once a day. A vanished id is an "
        "error, a changed ticker warns; the likely new id is named.",
    )
    @logged_step
    def coin_ids_are_listed(
        context: dg.AssetCheckExecutionContext,
        coingecko: dg.ResourceParam[CoinGeckoResource],
        database: dg.ResourceParam[Database],
    ) -> dg.AssetCheckResult:
        from market_pipeline.pipeline.coin_ids import verify_identities

        try:
            with coingecko.client() as client:
                identities = verify_identities(client, database, catalogue, utc_now())
        except CoinGeckoError as error:
            return _not_asked(error)
        return _verdict(catalogue, identities)

    return coin_ids_are_listed


def _not_asked(error: CoinGeckoError) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False,
        check_name=LISTED,
        asset_key=PRICE_COVERAGE,
        severity=dg.AssetCheckSeverity.WARN,
        description="CoinGecko's list of coins cannot be had, so nothing is known of the ids today: "
        f"{error.verdict}",
        metadata={"verdict": error.verdict, "error": str(error)},
    )


def _verdict(catalogue: Catalogue, identities: Sequence[Identity]) -> dg.AssetCheckResult:
    gone = [identity for identity in identities if not identity.listed]
    worst_first = sorted(identities, key=lambda identity: identity.listed)
    return from_symbols(
        LISTED,
        {identity.symbol: identity.problem for identity in worst_first if identity.problem},
        severity=dg.AssetCheckSeverity.ERROR if gone else dg.AssetCheckSeverity.WARN,
        good="CoinGecko lists every coin by its configured id",
        recovery=_recovery(catalogue, gone),
        asset=PRICE_COVERAGE,
    )


def _recovery(catalogue: Catalogue, gone: Sequence[Identity]) -> str:
    if not gone:
        return "If it is, nothing has to be done."
    if not any(identity.likely_id for identity in gone):
        return "Look the coin up on coingecko.com and mend its entry in MARKET_SYMBOLS."
    line = suggested_symbols(list(catalogue), gone)
    renamed = [
        (coin, coin.with_source_id(identity.likely_id))
        for identity in gone
        if identity.likely_id and f"{identity.symbol}={identity.likely_id}" in line.split(",")
        for coin in [catalogue.coin(identity.symbol)]
    ]
    commands = [
        f"market-pipeline rename {old.symbol}={old.coin_id} {new.symbol}={new.coin_id}" for old, new in renamed
    ]
    keep = f" So that the stored prices count for it, run {', '.join(commands)}." if commands else ""
    return f"Look the coin up on coingecko.com; if that is right set MARKET_SYMBOLS={line} and start again.{keep}"
