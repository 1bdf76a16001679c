"""`open_market`: what is stored as DataFrames, over any database, without Dagster."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import time_machine
from sqlalchemy import text

from market_pipeline import open_market
from market_pipeline.core.clock import DAY
from market_pipeline.pipeline.market import Market
from market_pipeline.prices.candles import INTERVALS
from market_pipeline.settings import SettingsError
from market_pipeline.storage.db_errors import DatabaseUnavailable, SchemaMismatch
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import VERSION_TABLE
from market_pipeline.storage.schema.tables import daily_bars, price_anomalies, raw_prices
from market_pipeline_tests.builders import START, anomaly_row, at, price_row, store

HOURS = 60
NOW = START + 3 * DAY


def opened(database: Database) -> Market:
    return open_market(database.url.render_as_string(hide_password=False))


@pytest.fixture
def market(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    """Two days of BTC every hour but the third, of a simulated ETH, of a former and the present SOL."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HISTORY_START", "2024-01-01")
    rows = [price_row(minutes=HOURS * n, price=100.0 + n) for n in range(48) if n not in (3, 4, 5)]
    simulated, former = price_row("ETH", 5, coin_id="simulated:ethereum"), price_row("SOL", 9, coin_id="old")
    store(database, raw_prices, *rows, simulated, former, price_row("SOL", 7))
    event = anomaly_row("BTC", 0, id="e" * 32, event_id="e" * 32, kind="market_move", members="BTC,ETH")
    store(database, price_anomalies, event, anomaly_row("ETH", 5, coin_id="simulated:ethereum", event_id="e" * 32))
    store(database, daily_bars, {
        "symbol": "BTC", "coin_id": "bitcoin", "day": START.date(), "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0,
        "quotes": 21, "realised_volatility": None, "completeness": 0.875,
    })
    with time_machine.travel(NOW, tick=False):
        found = opened(database)
        yield found
        found.close()


def test_what_is_stored_comes_as_frames_with_an_index_in_utc(market: Market) -> None:
    assert market.symbols == ("BTC", "ETH", "SOL") and "BTC, ETH, SOL" in repr(market)
    frames = [
        market.prices("btc"), market.candles("BTC"), market.bars("BTC"), market.anomalies(), market.coverage(),
        market.prices("BTC", end=START), market.candles("BTC", end=START), market.bars("BTC", end=START),
        market.anomalies(end=START), market.coverage("ETH", days=1),
    ]
    for frame in frames:
        assert isinstance(frame.index, pd.DatetimeIndex) and str(frame.index.tz) == "UTC"
        assert frame.index.is_monotonic_increasing and frame.index.dtype == "datetime64[us, UTC]"
    prices, candles, bars, anomalies, coverage = frames[:5]
    assert (len(prices), prices["price"].iloc[-1], prices.index[-1]) == (45, 147.0, at(47 * HOURS))
    assert {*prices["quality"]} == {"ok"} and prices["ingested_at"].dtype == prices.index.dtype
    assert (len(candles), candles["quotes"].sum(), candles.index.name) == (45, 45, "opened_at")
    assert bars.index.tolist() == [pd.Timestamp(START)] and bars["completeness"].tolist() == [0.875]
    assert anomalies["symbol"].tolist() == ["BTC"]
    assert market.anomalies("eth", alarms_only=False)["event_id"].tolist() == ["e" * 32]
    assert market.anomalies("eth").empty and market.anomalies("sol", market_moves=True).empty
    assert market.anomalies("eth", market_moves=True)["symbol"].tolist() == ["BTC"], "the market move it was part of"
    assert coverage[coverage["symbol"] == "BTC"]["missing"].tolist() == [True, False]
    assert market.coverage("BTC")["largest_gap"].max() == timedelta(hours=4)
    assert [len(market.prices(symbol)) for symbol in ("ETH", "SOL")] == [1, 1], "the configured coin, or the only one"


def test_times_may_be_days_text_or_datetimes_and_the_end_is_outside(market: Market) -> None:
    second = START + DAY
    for start in (second, second.date(), "2024-03-02", "2024-03-02T00:00Z", "2024-03-02T01:00+01:00",
                  second.replace(tzinfo=None)):
        assert len(market.prices("BTC", start=start)) == len(market.candles("BTC", start=start)) == 24
        assert len(market.prices("BTC", end=start)) == len(market.candles("BTC", end=start)) == 21
        assert len(market.bars("BTC", start=start)) == len(market.anomalies(start=start)) == 0
    for end, count in ((START, 0), (START + timedelta(seconds=1), 1)):
        assert len(market.bars("BTC", end=end)) == len(market.anomalies(end=end)) == count
    assert len(market.candles("BTC", start=date.min)) == 45
    with pytest.raises(ValueError, match="not a time; give a datetime"):
        market.prices("BTC", start=np.datetime64("2024-03-02"))  # type: ignore[arg-type]  # the mistake to refuse
    with pytest.raises(ValueError, match="not a time; give a datetime"):
        market.prices("BTC", start=pd.NaT)  # type: ignore[arg-type]  # the mistake to refuse
    for days in (10**7, 1.5, "30"):
        with pytest.raises(ValueError, match="1 to 36,500 whole days"):
            market.coverage(days=days)  # type: ignore[arg-type]  # the mistake to refuse
    for symbol, interval in product(("BTC", "SOL"), INTERVALS):
        all_of_it = market.candles(symbol, interval, date.min)
        assert len(all_of_it) and all_of_it.equals(market.candles(symbol, interval)), "from the first one on"
    assert len(market.candles("BTC", "1d")) == 2 and len(market.candles("BTC", "4h", date(2024, 3, 2))) == 6


def test_what_cannot_be_answered_is_an_error_that_says_what_can(market: Market, database: Database) -> None:
    with pytest.raises(ValueError, match=r"no prices of 'DOGE' are stored, but of BTC, ETH, SOL"):
        market.prices("DOGE")
    with pytest.raises(ValueError, match="one symbol at a time"):
        market.prices(["BTC", "ETH"])  # type: ignore[arg-type]  # the mistake to refuse
    with pytest.raises(ValueError, match="no candles of '2h'; choose 5m, 15m"):
        market.candles("BTC", "2h")
    with pytest.raises(ValueError, match="'soon' is not a time"):
        market.prices("BTC", start="soon")
    for read in (market.prices, market.candles, market.bars, market.anomalies):
        with pytest.raises(ValueError, match="the end 2024-03-01T00:00:00Z is before the start 2024-03-02T00:00:00Z"):
            read("BTC", start="2024-03-02", end="2024-03-01")
    with pytest.raises(SettingsError, match=r"given by the program\):\n- DATABASE_URL"):
        open_market("mysql://me:canary@host/db")
    with pytest.raises(DatabaseUnavailable, match=r"absent\.db does not exist"):
        open_market("sqlite:///absent.db")
    assert not Path("absent.db").exists()
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0014'"))
    with pytest.raises(SchemaMismatch, match=r"0014.*market-pipeline migrate"):
        opened(database)


def test_the_package_alone_is_light_and_reading_needs_no_dagster(sqlite_database: Database, tmp_path: Path) -> None:
    store(sqlite_database, raw_prices, price_row())
    program = (
        "import sys, market_pipeline\n"
        "light = {'sqlalchemy', 'numpy', 'pandas', 'pydantic'} & set(sys.modules)\n"
        "market = market_pipeline.open_market()\n"
        "prices, *_ = market.prices('BTC'), market.candles('BTC'), market.bars('BTC')\n"
        "_ = market.anomalies(), market.coverage()\n"
        "print(light, 'dagster' in sys.modules, len(prices))"
    )
    environment = {"DATABASE_URL": sqlite_database.url.render_as_string()}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.stdout == "set() False 1\n", ran.stderr
