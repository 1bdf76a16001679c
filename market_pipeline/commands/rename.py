"""`market-pipeline rename`: give what is stored of a coin another symbol, or another coin id."""

import argparse

import dagster as dg

from market_pipeline.commands.backfill_plan import InputError, counted
from market_pipeline.commands.start import command_settings, confirmed, say
from market_pipeline.core.symbols import Coin, as_setting, parse_stored
from market_pipeline.dagster_instance.home import current_home
from market_pipeline.defs.assets.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.assets.raw_prices import RAW_PRICES, REJECTED_PRICES
from market_pipeline.defs.partitions import days_of, partition_key
from market_pipeline.pipeline.other_coins import price_count, stored_ids
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.rename import rename
from market_pipeline.storage.schema.migrate import check_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "old", metavar="OLD", help="the symbol under which it is stored, e.g. BTC, or with the coin id BTC=bitcoin"
    )
    parser.add_argument(
        "new", metavar="NEW", help="the new symbol, e.g. XBT; or the same one with another coin id, DOT=polkadot-2"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")


def execute(options: argparse.Namespace) -> int:
    """Rename and say what to set; 0, also where it was done before."""
    settings = command_settings()
    say(f"DAGSTER_HOME is {current_home()}.")
    database = Database(settings.database, settings.catalogue.ids)
    check_schema(database)
    old, new = _coins(database, settings, options.old, options.new)
    _require_free(database, old, new)
    prices = price_count(database, old)
    if not prices and not price_count(database, new):
        _require_nothing_else(database, old)
    say(f"{counted(prices, 'price')} of {old} {'is' if prices == 1 else 'are'} stored; they become {new}.")
    if prices and not confirmed(options.yes):
        return 0
    rename(database, old, new)
    if old.symbol != new.symbol:
        from market_pipeline.commands.dagster_runs import recorded_runs

        with recorded_runs(settings) as runs:
            reported = report_renamed(runs.instance, old.symbol, new.symbol)
        say(f"Renamed; {counted(reported, 'partition')} of {new.symbol} reported to Dagster.")
    else:
        say("Renamed.")
    _say_what_to_set(settings, old, new)
    return 0


def _coins(database: Database, settings: Settings, old: str, new: str) -> tuple[Coin, Coin]:
    """What is renamed, and what it becomes; the coin stays the same one unless it is named."""
    try:
        (old_symbol, old_id), (new_symbol, new_id) = parse_stored(old), parse_stored(new)
    except ValueError as error:
        raise InputError(str(error)) from None
    if old_id is None:
        found = stored_ids(database, old_symbol)
        present = settings.catalogue.ids.get(old_symbol)
        if present is None and len(found) > 1:
            raise InputError(
                f"{old_symbol} holds prices of {', '.join(found)}; name the one you mean, "
                f"e.g. {old_symbol}={found[0]}"
            )
        old_id = present or next(iter(found), None) or settings.catalogue.ids.get(new_symbol)
    if old_id is None:
        raise InputError(f"nothing is stored of {old_symbol}, and it is not in MARKET_SYMBOLS")
    coins = Coin(old_symbol, old_id), Coin(new_symbol, new_id or old_id)
    if coins[0] == coins[1]:
        raise InputError(f"{coins[0]} is what it is called already; write the new symbol or coin id as NEW")
    return coins


def _require_free(database: Database, old: Coin, new: Coin) -> None:
    """InputError if the new symbol holds prices of another coin: they would be of one symbol."""
    others = [
        coin_id
        for coin_id in stored_ids(database, new.symbol)
        if coin_id != new.coin_id and Coin(new.symbol, coin_id) != old
    ]
    if others:
        raise InputError(
            f"{new.symbol} holds prices of {', '.join(others)} already; take another symbol, or give those another "
            f"one first: market-pipeline rename {new.symbol}={others[0]} ANOTHER"
        )


def _require_nothing_else(database: Database, old: Coin) -> None:
    """InputError if only prices of another coin than `old` are stored of its symbol: one of those is meant."""
    found = stored_ids(database, old.symbol)
    if found:
        raise InputError(
            f"no prices of {old} are stored; {old.symbol} holds prices of {', '.join(found)}: name the one you mean, "
            f"e.g. {old.symbol}={found[0]}"
        )


def _say_what_to_set(settings: Settings, old: Coin, new: Coin) -> None:
    coins = list(settings.catalogue)
    if any(coin.symbol == new.symbol and coin.source_id == new.source_id for coin in coins):
        return
    if any(coin.symbol == old.symbol for coin in coins):
        setting = as_setting(new if coin.symbol == old.symbol else coin for coin in coins)
        say(f"Now set MARKET_SYMBOLS={setting} and start again.")


# Dagster's name for the tag that says which detectors were at work.
_DATA_VERSION = "dagster/data_version"


def report_renamed(instance: dg.DagsterInstance, old: str, new: str) -> int:
    """Report every partition that was materialized as `old` as `new`, unless it is; how many were reported."""
    return sum(_report(instance, asset, old, new) for asset in (RAW_PRICES, REJECTED_PRICES, PRICE_ANOMALIES))


def _report(instance: dg.DagsterInstance, asset: str, old: str, new: str) -> int:
    key = dg.AssetKey(asset)
    there = instance.get_materialized_partitions(key)
    days = [day for day, symbol in days_of(there) if symbol == old]
    wanted = {str(partition_key(day, old)): str(partition_key(day, new)) for day in sorted(days)}
    left = {before: after for before, after in wanted.items() if after not in there}
    versions = instance.event_log_storage.get_latest_tags_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, [_DATA_VERSION], list(left)
    )
    for before, after in left.items():
        event = dg.AssetMaterialization(
            key, partition=after, metadata={"renamed_from": old}, tags=dict(versions.get(before, {}))
        )
        instance.report_runless_asset_event(event)
    return len(left)
