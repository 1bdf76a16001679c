"""`market-pipeline rename`: what is stored follows, Dagster shows it, and the setting to change is named."""

import logging

import dagster as dg
import pytest

from market_pipeline.commands.main import main
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import price_row, prices_of
from market_pipeline_tests.commands.filling import HOME, Filling


@pytest.fixture
def filling(project, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(project)
    monkeypatch.setattr(logging.getLogger("market_pipeline"), "handlers", [])
    with Simulator(MarketModel(tuple(KNOWN_COINS.values()), seed=7)) as simulator:
        built = Filling(project, simulator, MARKET_SYMBOLS="BTC,ETH").migrate()
        for name, value in built.environment.items():
            monkeypatch.setenv(name, value)
        yield built
    built.database.dispose()


def partitions(project, asset):
    with dg.DagsterInstance.from_config(str(project / HOME)) as instance:
        return instance.get_materialized_partitions(dg.AssetKey(asset))


@pytest.mark.slow
def test_a_renamed_symbol_is_complete_and_green_under_its_new_name(filling, project, monkeypatch, capsys):
    assert filling.backfill(2, 1, "--symbols", "BTC", "--yes") == 0
    before, day = filling.rows(), filling.days_ago(1)
    capsys.readouterr()
    assert main(["rename", "btc", "XBT", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "of BTC (simulated:bitcoin) are stored; they become XBT (simulated:bitcoin)." in said
    assert "Renamed; 6 partitions of XBT reported to Dagster." in said
    assert "Now set MARKET_SYMBOLS=XBT=bitcoin,ETH and start again." in said
    assert {f"{day}|BTC", f"{day}|XBT"} <= partitions(project, "price_anomalies")
    monkeypatch.setenv("MARKET_SYMBOLS", "XBT=bitcoin,ETH")
    assert filling.backfill(2, 1, "--symbols", "XBT", "--yes") == 0
    assert "Everything from" in capsys.readouterr().out and filling.rows() == before
    assert len(filling.history) == 1, "nothing is asked for again"
    assert main(["rename", "BTC", "XBT", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "0 prices of BTC" in said and "Renamed; 0 partitions" in said and "MARKET_SYMBOLS" not in said


@pytest.mark.parametrize(("arguments", "complaint"), [
    (("BTC", "ETH"), "ETH holds prices of simulated:ethereum already; take another symbol"),
    (("BTC", "BTC"), "has that name already"),
    (("OLD", "NEW"), "OLD holds prices of one, two; name the one you mean, e.g. OLD=one"),
    (("NONE", "NEW"), "nothing is stored of NONE"),
    (("BTC=bitcoin", "NEW"), "name the one you mean, e.g. BTC=simulated:bitcoin"),
    (("B|C", "NEW"), "'B|C' is not a symbol"),
    (("BTC", "NEW=Not An Id"), "is not a CoinGecko id"),
])
def test_what_cannot_be_renamed_is_explained(filling, capsys, arguments, complaint):
    rows = [
        price_row("BTC", coin_id="simulated:bitcoin"), price_row("ETH", coin_id="simulated:ethereum"),
        price_row("OLD", coin_id="one"), price_row("OLD", coin_id="two"),
    ]
    upsert(filling.database, raw_prices, prices_of(*rows))
    assert main(["rename", *arguments, "--yes"]) == 2
    assert complaint in capsys.readouterr().err


def test_an_id_is_renamed_without_dagster(filling, project, capsys):
    upsert(filling.database, raw_prices, prices_of(price_row("OLD", coin_id="one")))
    assert main(["rename", "OLD", "OLD=two", "--yes"]) == 0
    assert "1 price of OLD (one) is stored; they become OLD (two)." in capsys.readouterr().out
    assert not (project / HOME / "history").exists()
