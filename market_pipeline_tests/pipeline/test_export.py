"""Exported files: every row once, in the folder of its symbol and year, and nothing left of an export that fails."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from market_pipeline.core.clock import DAY
from market_pipeline.core.file_lock import try_lock
from market_pipeline.pipeline import export as module
from market_pipeline.pipeline.export import Order, export
from market_pipeline.prices.candles import INTERVALS
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.candles import read_candles
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import START, anomaly_row, at, price_row, store

SYMBOLS = ("BTC", "ETH", "SOL")
# Over the end of the year 2024.
LAST = START + 400 * DAY


@pytest.fixture
def filled(sqlite_database: Database) -> Database:
    """A quote of BTC and ETH every six days or so, and an alarm at one of them; nothing of SOL."""
    for symbol in ("BTC", "ETH"):
        rows = (price_row(symbol, 9000 * n, 100.0 + n / 7) for n in range(62))
        store(sqlite_database, raw_prices, *rows)
    store(sqlite_database, price_anomalies, *(anomaly_row("ETH", 9000 * n) for n in (1, 61)))
    return sqlite_database


def ordered(interval: str = "raw", file_format: str = "parquet", start: datetime | None = None, **more: Any) -> Order:
    return Order(SYMBOLS, start, LAST, interval, file_format, more.get("anomalies", False))


def test_every_price_is_in_the_file_of_its_symbol_and_year(filled: Database, tmp_path: Path) -> None:
    """What pandas reads as one table; DuckDB and polars do likewise."""
    out = tmp_path / "out"
    seen: list[tuple[str, str, int, datetime]] = []
    (written,) = export(filled, ordered(), out, LAST, lambda *told: seen.append(told))
    assert sorted(file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()) == [
        f"prices/symbol={symbol}/year={year}/prices.parquet" for symbol in ("BTC", "ETH") for year in (2024, 2025)
    ]
    assert (written.table, written.rows, written.files) == ("prices", 124, 4)
    assert [told[:3] for told in seen] == [("prices", "BTC", 62), ("prices", "ETH", 62)]
    found = pd.read_parquet(out / "prices")
    assert {*found.columns} == {"timestamp", "price", "source", "ingested_at", "quality", "symbol", "year"}
    of_btc = found[found["symbol"] == "BTC"]
    assert of_btc["timestamp"].tolist() == [at(9000 * n) for n in range(62)]
    assert of_btc["price"].tolist() == [100 + n / 7 for n in range(62)]
    assert (of_btc["year"].astype(int) == of_btc["timestamp"].dt.year).all()


@pytest.mark.parametrize("interval", ["1h", "1d"])
def test_candles_are_those_of_the_api_and_anomalies_come_with_them(
    filled: Database, tmp_path: Path, interval: str
) -> None:
    start = at(9000 * 3 + 1)
    export(filled, ordered(interval, start=start, anomalies=True), tmp_path / "out", LAST)
    found = pd.read_parquet(tmp_path / "out" / "candles")
    expected = read_candles(filled, "ETH", INTERVALS[interval], start, LAST, 10_000, LAST)
    of_eth = found[found["symbol"] == "ETH"]
    assert of_eth["opened_at"].tolist() == expected.datetimes("opened_at") and len(expected) == 58
    assert of_eth["close"].tolist() == expected["close"].tolist()
    anomalies = pd.read_parquet(tmp_path / "out" / "anomalies")
    assert anomalies["timestamp"].tolist() == [at(9000 * 61)]
    assert anomalies["headline"].tolist() == ["BTC rose 6.0% in 5 min."]


def test_csv_names_its_symbol_in_every_row(filled: Database, tmp_path: Path) -> None:
    (written,) = export(filled, ordered(file_format="csv"), tmp_path / "out", LAST)
    found = pd.read_csv(tmp_path / "out/prices/symbol=ETH/year=2025/prices.csv", parse_dates=["timestamp"])
    assert found["symbol"].unique().tolist() == ["ETH"] and found["timestamp"].iloc[-1] == at(9000 * 61)
    assert found["price"].iloc[-1] == 100 + 61 / 7 and written.files == 4


def test_an_export_that_fails_leaves_nothing(filled: Database, tmp_path: Path) -> None:
    out = tmp_path / "out"
    calls: list[Any] = []

    def fail(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        export(filled, ordered(), out, LAST, fail)
    assert not out.exists()
    killed = out / module.UNFINISHED / "prices" / "symbol=BTC" / "year=2024"
    killed.mkdir(parents=True)
    export(filled, ordered(), out, LAST)
    assert [path.name for path in out.iterdir()] == ["prices"], "what a killed one left is gone"
    out = tmp_path / "other"
    empty = Order(["SOL"], None, LAST, "raw", "parquet", True)
    assert [table.rows for table in export(filled, empty, out, LAST)] == [0, 0] and not out.exists()
    assert module.starts_of(filled, ordered(start=LAST - timedelta(seconds=1))).keys() == {"BTC", "ETH"}


def test_what_was_killed_or_interrupted_while_moving_is_removed(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, both = tmp_path / "out", ordered(anomalies=True)
    export(filled, both, out, LAST)
    killed = out / module.UNFINISHED
    killed.mkdir()
    assert not module.is_free(out)
    (tmp_path / "kept").mkdir()
    (killed / "moving").write_text("prices\nanomalies\n../kept")
    assert module.is_free(out)
    (out / "prices" / "symbol=GONE").mkdir()
    export(filled, both, out, LAST)
    assert sorted(path.name for path in out.iterdir()) == ["anomalies", "prices"]
    assert not (out / "prices" / "symbol=GONE").exists() and (tmp_path / "kept").exists()

    def interrupted(path: Path, target: Path) -> None:
        if path.name == "anomalies":
            raise KeyboardInterrupt
        path.replace(target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(filled, both, tmp_path / "other", LAST)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("interrupted", ["mkdir", "open", "lock"])
def test_an_interrupt_before_the_lock_leaves_nothing(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    """It comes after what is named was done."""
    calls = 0

    def then_interrupted(do: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any, **more: Any) -> Any:
            nonlocal calls
            calls, result = calls + 1, do(*args, **more)
            if calls > 1:
                return result
            if interrupted == "open":
                result.close()
            raise KeyboardInterrupt

        return done

    with monkeypatch.context() as patch:
        if interrupted == "lock":
            patch.setattr(module, "try_lock", then_interrupted(try_lock))
        else:
            patch.setattr(Path, interrupted, then_interrupted(getattr(Path, interrupted)))
        with pytest.raises(KeyboardInterrupt):
            export(sqlite_database, ordered(), tmp_path / "out", LAST)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("link", [module.UNFINISHED, f"{module.UNFINISHED}/prices", f"{module.UNFINISHED}/moving"])
def test_no_symbolic_link_is_followed(sqlite_database: Database, tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "prices").write_text("kept")
    path = tmp_path / "out" / link
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic link"):
        export(sqlite_database, ordered(), tmp_path / "out", LAST)
    assert (elsewhere / "prices").read_text() == "kept" and path.is_symlink()


def test_a_second_export_to_the_same_folder_is_refused_and_deletes_nothing(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*args: Any) -> None:
        with pytest.raises(OSError, match="another export is writing there"):
            export(filled, ordered(), tmp_path / "out", LAST)

    def moved(source: Path, target: Path, move: Callable[[Path, Path], Path] = Path.rename) -> Path:
        move(source, target)
        meanwhile()
        return target

    monkeypatch.setattr(Path, "rename", moved)
    (written,) = export(filled, ordered(), tmp_path / "out", LAST, meanwhile)
    assert written.files == len([*(tmp_path / "out").rglob("*.parquet")]) == 4
