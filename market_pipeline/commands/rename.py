"""Move the stored rows of a coin to another symbol or coin id, and show its partitions under the new name."""

import click
import dagster as dg

from market_pipeline.commands.dagster_runs import recorded_runs
from market_pipeline.commands.start import command_settings, confirmed, database_of
from market_pipeline.core.program import command
from market_pipeline.core.symbols import Coin, as_setting, parse_stored
from market_pipeline.core.wording import counted
from market_pipeline.dagster_instance.home import checked_home
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.dagster_instance.nonpublic import DATA_VERSION, data_versions, materialized_partitions
from market_pipeline.defs.assets.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.assets.raw_prices import RAW_PRICES, REJECTED_PRICES
from market_pipeline.defs.partitions import days_of, partition_key
from market_pipeline.pipeline.other_coins import price_count, stored_ids
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.rename import rename
from market_pipeline.storage.schema.migrate import check_schema


def execute(old_text: str, new_text: str, *, yes: bool) -> int:
    """Rename and print what to set; return 0, also where it was done before."""
    settings = command_settings()
    click.echo(f"DAGSTER_HOME is {checked_home(storage_of(settings))}.")
    database = database_of(settings)
    check_schema(database)
    old, new = _coins(database, settings, old_text, new_text)
    _require_free(database, old, new)
    prices = price_count(database, old)
    if not prices and not price_count(database, new):
        _require_nothing_else(database, old)
    verbs = ("is", "it becomes") if prices == 1 else ("are", "they become")
    click.echo(f"{counted(prices, 'price')} of {old} {verbs[0]} stored; {verbs[1]} {new}.")
    if prices and not confirmed(yes):
        return 0
    rename(database, old, new)
    if old.symbol != new.symbol:
        with recorded_runs(settings, database) as runs:
            reported = report_renamed(runs.instance, old.symbol, new.symbol)
        click.echo(f"Renamed; {counted(reported, 'partition')} of {new.symbol} reported to Dagster.")
    else:
        click.echo("Renamed.")
    _print_setting(settings, old, new)
    return 0


def _coins(database: Database, settings: Settings, old: str, new: str) -> tuple[Coin, Coin]:
    """Return what is renamed and what it becomes; the coin id stays unless `new` has one."""
    try:
        (old_symbol, old_id), (new_symbol, new_id) = parse_stored(old), parse_stored(new)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if old_id is None:
        found = stored_ids(database, old_symbol)
        present = settings.catalogue.ids.get(old_symbol)
        if present is None and len(found) > 1:
            raise click.UsageError(f"{old_symbol} holds prices of {', '.join(found)}; {_name_one(old_symbol, found)}")
        old_id = present or next(iter(found), None) or settings.catalogue.ids.get(new_symbol)
    if old_id is None:
        raise click.UsageError(f"nothing is stored of {old_symbol}, and it is not in MARKET_SYMBOLS")
    coins = Coin(old_symbol, old_id), Coin(new_symbol, new_id or old_id)
    if coins[0] == coins[1]:
        raise click.UsageError(f"{coins[0]} already has that name; write the new symbol or coin id as NEW")
    return coins


def _name_one(symbol: str, coin_ids: list[str]) -> str:
    return f"name the one you mean, e.g. {symbol}={coin_ids[0]}"


def _require_free(database: Database, old: Coin, new: Coin) -> None:
    """Refuse a new symbol that holds prices of another coin: the two would be mixed."""
    others = [
        coin_id
        for coin_id in stored_ids(database, new.symbol)
        if coin_id != new.coin_id and Coin(new.symbol, coin_id) != old
    ]
    if others:
        raise click.UsageError(
            f"{new.symbol} already holds prices of {', '.join(others)}; choose another symbol, or rename those first: "
            + command(f"rename {new.symbol}={others[0]} ANOTHER")
        )


def _require_nothing_else(database: Database, old: Coin) -> None:
    """Refuse a coin without stored rows if its symbol holds another one, which is probably meant."""
    found = stored_ids(database, old.symbol)
    if found:
        raise click.UsageError(
            f"no prices of {old} are stored; {old.symbol} holds prices of {', '.join(found)}: "
            f"{_name_one(old.symbol, found)}"
        )


def _print_setting(settings: Settings, old: Coin, new: Coin) -> None:
    coins = list(settings.catalogue)
    if any(coin.symbol == new.symbol and coin.source_id == new.source_id for coin in coins):
        return
    if any(coin.symbol == old.symbol for coin in coins):
        setting = as_setting(new if coin.symbol == old.symbol else coin for coin in coins)
        click.echo(f"Now set MARKET_SYMBOLS={setting} and start again.")


def report_renamed(instance: dg.DagsterInstance, old: str, new: str) -> int:
    """Report to Dagster each partition that was materialized as `old` as one of `new`, once; return how many."""
    assets = RAW_PRICES, REJECTED_PRICES, PRICE_ANOMALIES
    return sum(_report(instance, asset, old, new) for asset in assets)


def _report(instance: dg.DagsterInstance, asset: str, old: str, new: str) -> int:
    key = dg.AssetKey(asset)
    there = materialized_partitions(instance, asset)
    days = sorted(day for day, symbol in days_of(there) if symbol == old)
    renamed = {str(partition_key(day, old)): str(partition_key(day, new)) for day in days}
    missing = {before: after for before, after in renamed.items() if after not in there}
    versions = data_versions(instance, asset, missing)
    for before, after in missing.items():
        tags = {DATA_VERSION: versions[before]} if before in versions else {}
        event = dg.AssetMaterialization(key, partition=after, metadata={"renamed_from": old}, tags=tags)
        instance.report_runless_asset_event(event)
    return len(missing)
