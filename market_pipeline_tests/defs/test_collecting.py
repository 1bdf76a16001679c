"""Runs that collect: the scheduled tick and the completion of past days, good and failing."""

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

# How a queued run is executed once the daemon lets it begin has no public name.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from sqlalchemy.engine import make_url

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.defs.partitions import partition_key, range_tags
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline_tests.defs.world import ERROR, World, WorldOf, failure_of, failure_text

HOUR = timedelta(hours=1)


def requested(world: World) -> list[str]:
    """The endpoints of the requests for prices, in order; the list of coins is requested once a day besides."""
    ends = [request.path.rsplit("/", 1)[-1] for request in world.simulator.requests]
    return [end for end in ends if end != "list"]


def keys(world: World, *days: int) -> set[str]:
    return {str(partition_key(world.days_ago(day), symbol)) for day in days for symbol in world.symbols}


def test_a_tick_collects_every_symbol_with_one_request_and_a_second_one_changes_nothing(
    world_of: WorldOf, database: Database, market: MarketModel
) -> None:
    """On SQLite and on PostgreSQL alike; the price stored is the price served."""
    world = world_of(database)
    result = world.tick()
    assert result.success and requested(world) == ["price"]
    assert all(check.passed for check in world.checks(result).values())
    assert world.materialized("raw_prices") >= keys(world, 0)
    assert world.materialized("price_anomalies") == keys(world, 0)
    assert world.latest_metadata("raw_prices", world.today, "BTC")["requests_in_this_run"] == "1"
    before = world.prices()
    assert {row["symbol"] for row in before} == set(world.symbols)
    for row in before:
        served = market.quote(world.settings.catalogue.coin(row["symbol"]).source_id, row["timestamp"])
        assert (row["price"], row["timestamp"]) == served
        assert timedelta(0) <= row["ingested_at"] - row["timestamp"] <= timedelta(minutes=2)
    world.tick()
    newest = {row["symbol"]: row["timestamp"] for row in before}
    assert [row for row in world.prices() if row["timestamp"] <= newest[row["symbol"]]] == before


def test_a_coin_missing_from_the_answer_does_not_stop_the_others(world: World) -> None:
    world.simulator.add_fault(Fault(kind="missing_coin", coin="polkadot", path="/simple/price"))
    result = world.tick()
    assert result.success and result.asset_materializations_for_node("price_anomalies")
    assert {row["symbol"] for row in world.prices()} == set(world.symbols) - {"DOT"}
    quoted = world.checks(result)["every_symbol_quoted"]
    assert (quoted.passed, quoted.severity, quoted.metadata["symbols"].value) == (False, ERROR, "DOT")
    refused = [(row["symbol"], row["reason"], row["run_id"]) for row in world.rows(tables.rejected_prices)]
    assert refused == [("DOT", "missing_price", result.run_id)]


def test_an_api_that_refuses_fails_the_run_with_a_verdict_and_stores_nothing(world: World) -> None:
    world.simulator.add_fault(Fault(kind="status", status=403))
    metadata = failure_of(world.tick()).user_failure_data.metadata
    assert (metadata["status"].value, metadata["attempts"].value) == (403, 1)
    assert "BTC" in metadata["symbols"].value
    assert world.prices() == [] and world.materialized("raw_prices") == set()


@pytest.mark.parametrize("kind", ["html", "error_body", "empty_object", "truncated_json"])
def test_no_broken_answer_crashes_the_run_or_is_stored(world: World, kind: str) -> None:
    """A failure with a verdict, not a crash; a good answer without coins is no failed request."""
    world.simulator.add_fault(Fault(kind=kind, times=None))
    result = world.tick()
    assert world.simulator.requests and world.prices() == []
    assert result.success == (kind == "empty_object")
    if not result.success:
        assert failure_of(result).user_failure_data is not None


def test_a_tick_without_tables_names_the_command_that_makes_them(world_of: WorldOf, tmp_path: Path) -> None:
    world = world_of(Database(make_url(f"sqlite:///{tmp_path / 'empty.db'}")))
    assert "market-pipeline migrate" in failure_of(world.tick()).error_display_string
    assert world.simulator.requests == []


def test_a_quote_from_before_midnight_belongs_to_its_own_day(world: World) -> None:
    """Just after midnight the newest price at the source may still be yesterday's."""
    late = start_of_day(world.today) - timedelta(seconds=20)
    seconds = (utc_now() - late).total_seconds()
    world.simulator.add_fault(Fault(kind="stale_timestamp", seconds=seconds, coin="bitcoin"))
    assert world.tick().success
    assert [row["timestamp"].date() for row in world.prices() if row["symbol"] == "BTC"] == [world.days_ago(1)]
    assert str(partition_key(world.days_ago(1), "BTC")) in world.materialized("raw_prices")
    assert world.latest_metadata("raw_prices", world.days_ago(1), "BTC")["dagster/row_count"] == 1
    assert world.latest_metadata("raw_prices", world.today, "BTC")["dagster/row_count"] == 0


def test_a_tick_queued_before_its_last_symbol_was_removed_ends_without_failing(
    world_of: WorldOf, sqlite_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    before = world_of(sqlite_database)
    tags = range_tags(before.today, before.today, before.symbols)
    run = before.instance.create_run_for_job(before.defs.resolve_job_def("tick"), tags=tags)
    world = world_of(sqlite_database, market_symbols="BTC,ETH")
    assert execute_run(InMemoryJob(world.defs.resolve_job_def("tick")), run, world.instance).success
    assert "It collects nothing; the next one collects BTC, ETH" in caplog.text
    assert world.simulator.requests == [] and world.prices() == []


def silent_for(world: World, hours: float) -> None:
    """Make the last quotes of all symbols this many hours old."""
    for symbol in world.symbols:
        world.insert(symbol=symbol, timestamp=utc_now() - hours * HOUR, price=1.0)


def test_a_tick_fills_the_hole_of_an_outage_after_storing_the_live_price(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filling may take minutes, and a run that is ended meanwhile must not take the price of now with it."""
    silent_for(world, 6)
    stored = []
    request = CoinGeckoClient.market_chart_range

    def watched(self: CoinGeckoClient, *arguments: object) -> object:
        stored.append(sum(row["price"] != 1.0 for row in world.prices()))
        return request(self, *arguments)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(CoinGeckoClient, "market_chart_range", watched)
    assert world.tick().success
    assert requested(world) == ["price"] + ["range"] * 5 and stored == [5] * 5
    filled = [row for row in world.prices() if row["source"] == "market_chart"]
    metadata = world.latest_metadata("raw_prices", world.today, "BTC")
    assert int(metadata["holes_filled"]) == len(filled) >= 5 * 68 and "holes_unfilled" not in metadata
    assert metadata["requests_in_this_run"] == "6"
    # Close to midnight a part of the points is yesterday's.
    assert {f"{row['timestamp'].date()}|{row['symbol']}" for row in filled} <= world.materialized("raw_prices")
    world.simulator.clear_requests()
    assert world.tick().success and requested(world) == ["price"]


def test_a_hole_that_cannot_be_filled_does_not_fail_the_tick(world: World) -> None:
    silent_for(world, 2)
    world.simulator.add_fault(Fault(kind="status", status=400, code=10012, path="/coins/solana", times=None))
    assert world.tick().success
    assert world.latest_metadata("raw_prices", world.today, "SOL")["holes_unfilled"].startswith("SOL: ")
    filled = {row["symbol"] for row in world.prices() if row["source"] == "market_chart"}
    assert filled == set(world.symbols) - {"SOL"}


def test_a_range_of_past_days_is_one_request_a_symbol_and_doing_it_again_changes_nothing(
    world_of: WorldOf, database: Database
) -> None:
    world = world_of(database, market_symbols="BTC,ETH")
    first, last = world.days_ago(5), world.days_ago(3)
    assert world.complete(first, last).success
    assert requested(world) == ["range"] * 2
    assert world.materialized("raw_prices") == world.materialized("price_anomalies") == keys(world, 3, 4, 5)
    rows = [row for row in world.prices() if row["symbol"] == "BTC" and row["timestamp"].date() == first]
    metadata = world.latest_metadata("raw_prices", first, "BTC")
    assert metadata["dagster/row_count"] == len(rows) and 20 <= len(rows) <= 28
    assert {row["source"] for row in rows} == {"market_chart"}
    derived = (tables.raw_prices, tables.price_anomalies, tables.daily_bars)
    stored = [world.rows(table) for table in derived]
    assert [(bar["symbol"], bar["day"]) for bar in stored[2]] == [
        (symbol, world.days_ago(day)) for symbol in ("BTC", "ETH") for day in (5, 4, 3)
    ]
    bar, shown = stored[2][0], world.latest_metadata("daily_bars", first, "BTC")
    assert (bar["open"], bar["close"], bar["quotes"]) == (rows[0]["price"], rows[-1]["price"], len(rows))
    assert 0.9 < bar["completeness"] <= 1.0 and shown["BTC/close"] == pytest.approx(bar["close"], rel=1e-6)
    assert world.complete(first, last).success
    assert [world.rows(table) for table in derived] == stored
    assert world.latest_metadata("raw_prices", first, "BTC")["rows_written"] == "0"


def test_a_price_that_the_source_changed_is_counted_in_its_partition(pair: World) -> None:
    yesterday = pair.days_ago(1)
    assert pair.complete(yesterday, yesterday).success
    first = next(row for row in pair.prices() if row["symbol"] == "BTC")
    with pair.database.writing() as connection:
        one = (tables.raw_prices.c.symbol == "BTC") & (tables.raw_prices.c.timestamp == first["timestamp"])
        connection.execute(tables.raw_prices.update().where(one).values(price=1.0))
    assert pair.complete(yesterday, yesterday).success
    shown = {symbol: pair.latest_metadata("raw_prices", yesterday, symbol) for symbol in pair.symbols}
    numbers = {symbol: (of["prices_changed"], of["rows_written"]) for symbol, of in shown.items()}
    assert numbers == {"BTC": ("1", "1"), "ETH": ("0", "0")}


def test_the_plots_of_the_ui_mix_no_symbols_and_the_page_is_linked(pair: World) -> None:
    """It plots each number of all partitions as one line; the row count is Dagster's own."""
    assert pair.tick().success
    for symbol in pair.symbols:
        metadata = pair.latest_metadata("raw_prices", pair.today, symbol)
        plotted = {name for name, value in metadata.items() if isinstance(value, int | float)}
        assert plotted - {"newest_quote"} == {"dagster/row_count", f"{symbol}/price_usd"}
        assert len(str(metadata[f"{symbol}/price_usd"])) <= 9
        assert metadata["page"] == f"http://127.0.0.1:8000/symbols/{symbol}?day={pair.today}"


@pytest.mark.parametrize("alone", ["raw_prices", "rejected_prices"])
def test_either_asset_can_be_materialized_alone_and_what_came_of_the_other_is_stored(pair: World, alone: str) -> None:
    """As the UI does: without a warning that another asset is materialized, too."""
    yesterday = pair.days_ago(1)
    pair.simulator.add_fault(Fault(kind="negative_price"))
    every_asset = pair.defs.resolve_implicit_global_asset_job_def()
    only = every_asset.get_subset(asset_selection={dg.AssetKey(alone)}, asset_check_selection=set())
    tags = range_tags(yesterday, yesterday, pair.symbols)
    result = only.execute_in_process(instance=pair.instance, tags=tags)
    assert result.success
    assert {event.asset_key.path[-1] for event in result.get_asset_materialization_events() if event.asset_key} == {
        "raw_prices", "rejected_prices"
    }
    assert pair.materialized("raw_prices") == pair.materialized("rejected_prices") == keys(pair, 1)
    assert len(pair.rows(tables.rejected_prices)) == 1 and len(pair.prices()) > 40


def test_a_day_has_the_same_anomalies_alone_and_in_a_range(world_of: WorldOf, sqlite_database: Database) -> None:
    world = world_of(sqlite_database, market_symbols="BTC,ADA")
    first, last = world.days_ago(15), world.days_ago(1)
    assert world.complete(first, last).success
    in_range = world.rows(tables.price_anomalies)
    assert in_range, "the simulated market jumps now and then"
    flagged = max(row["timestamp"].date() for row in in_range)
    assert world.complete(flagged, flagged).success
    assert world.rows(tables.price_anomalies) == in_range


def test_a_range_up_to_today_collects_history_and_the_live_price(pair: World) -> None:
    assert pair.complete(pair.days_ago(1), pair.today, ["BTC"]).success
    assert {row["source"] for row in pair.prices()} == {"market_chart", "simple_price"}
    assert requested(pair) == ["price", "range"]
    assert [bar["day"] for bar in pair.rows(tables.daily_bars)] == [pair.days_ago(1)], "today is not over"


def test_the_good_symbols_of_a_failed_run_are_stored_and_marked(world: World) -> None:
    yesterday = world.days_ago(1)
    world.simulator.add_fault(Fault(kind="status", status=400, code=10012, times=None, path="/coins/cardano"))
    result = world.complete(yesterday, yesterday)
    good = {str(partition_key(yesterday, symbol)) for symbol in world.symbols if symbol != "ADA"}
    assert failure_of(result).user_failure_data.metadata["symbols"].value == "ADA"
    assert {row["symbol"] for row in world.prices()} == set(world.symbols) - {"ADA"}
    assert world.materialized("raw_prices") == world.materialized("rejected_prices") == good
    assert world.materialized("price_anomalies") == set()
    world.simulator.clear_faults()
    assert world.complete(yesterday, yesterday, ["ADA"]).success
    assert {row["symbol"] for row in world.prices()} == set(world.symbols)


def test_an_unknown_coin_does_not_stop_the_anomalies_of_the_others(pair: World) -> None:
    """A renamed id would otherwise mean that no night completes any coin."""
    yesterday = pair.days_ago(1)
    pair.simulator.add_fault(Fault(kind="status", status=404, times=None, path="/coins/ethereum"))
    result = pair.complete(yesterday, yesterday)
    assert result.success and {row["symbol"] for row in pair.prices()} == {"BTC"}
    refused = [(row["symbol"], row["reason"], row["day"]) for row in pair.rows(tables.rejected_prices)]
    assert refused == [("ETH", "missing_price", yesterday)]
    quoted = pair.checks(result)["every_symbol_quoted"]
    assert (quoted.passed, quoted.severity, quoted.metadata["symbols"].value) == (False, ERROR, "ETH")


def test_the_point_at_the_last_midnight_does_not_mark_the_next_day(
    pair: World, market: MarketModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies inside the requested window, and completes no day."""
    day = pair.days_ago(3)
    midnight = start_of_day(day) + timedelta(days=1)
    points = market.points

    def with_midnight(coin: str, start: datetime, end: datetime, step: timedelta) -> list[tuple[datetime, float]]:
        return [*points(coin, start, end, step), (midnight, 1.0)]

    monkeypatch.setattr(market, "points", with_midnight)
    assert pair.complete(day, day, ["BTC"]).success
    assert max(row["timestamp"] for row in pair.prices()) == midnight
    assert pair.materialized("raw_prices") == {str(partition_key(day, "BTC"))}


def test_an_outage_names_the_symbols_that_failed_and_those_that_were_not_requested(world: World) -> None:
    """The last sign of an outage is looked for at the other end of the symbols."""
    world.simulator.add_fault(Fault(kind="html", path="/coins/", times=None))
    result = world.complete(world.days_ago(1), world.days_ago(1))
    assert len(world.simulator.requests) == 3
    text = failure_text(result)
    assert text.startswith("No prices for ADA, BTC, SOL: ") and "DOT, ETH were not requested after that." in text


def test_a_hole_that_begins_before_midnight_marks_yesterday_too(world: World) -> None:
    silent_for(world, 23)
    assert world.tick().success
    yesterday = {row["symbol"] for row in world.prices() if row["timestamp"] < start_of_day(world.today)}
    marked = {key for key in world.materialized("raw_prices") if key.startswith(str(world.days_ago(1)))}
    assert marked == {f"{world.days_ago(1)}|{symbol}" for symbol in yesterday}
