"""A symbol or coin id is renamed: every table follows, and nothing is lost or doubled."""

from typing import Any

import pytest

from market_pipeline.anomalies.anomaly import anomaly_id
from market_pipeline.anomalies.calibration import Calibration, CoinCalibration
from market_pipeline.anomalies.scores.tails import Tail
from market_pipeline.core.clock import to_microseconds
from market_pipeline.core.symbols import Coin
from market_pipeline.prices.quotes import refusal_id
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import calibrations
from market_pipeline.storage.queries.rename import rename
from market_pipeline.storage.schema.operations_tables import (
    coin_identities,
    price_revisions,
    scored_through,
    source_gaps,
)
from market_pipeline.storage.schema.tables import detector_calibrations, price_anomalies, raw_prices, rejected_prices
from market_pipeline_tests.builders import START, anomaly_row, at, price_row, refusal_row, store, stored_rows

BTC, XBT = Coin("BTC", "bitcoin"), Coin("XBT", "bitcoin")


def event(symbol: str = "BTC", minutes: float = 0, kind: str = "market_move", **changes: Any) -> dict[str, Any]:
    number = anomaly_id(symbol, to_microseconds(at(minutes)), kind)
    return anomaly_row(symbol, minutes, kind, **{"id": number, "episode_id": number, **changes})


@pytest.fixture
def filled(database: Database) -> Database:
    """Something of BTC in every table, and of ETH beside it."""
    store(database, raw_prices, *(price_row(s, m) for s in ("BTC", "ETH") for m in (0, 5)))
    store(database, raw_prices, price_row(price=101.0))
    refusals = [
        refusal_row(n, symbol, id=refusal_id(symbol, START.date(), "negative_price", "{}"))
        for n, symbol in enumerate(("BTC", "ETH"))
    ]
    store(database, rejected_prices, *refusals)
    move = event(members="ETH,BTC", explanation="BTC, BTC.B, BTC-A, WBTC, BTC2.")
    alarms = [
        {**move, "event_id": move["id"]}, event(minutes=5, kind="jump", event_id=move["id"]),
        event("ETH", 0, "jump", event_id=move["id"], headline="ETH fell with BTC.", members="ETH,BTC"),
    ]
    store(database, price_anomalies, *alarms)
    tail = Tail(2.1, 0.02, 0.2, 0.7, 25_000)
    calibration = Calibration(
        START, (1.0,) * 24, {"BTC": CoinCalibration(-7.1, (0.5,) * 21, 9, 9.0, None, 1e-3)},
        {"BTC jump short": tail, "* jump short": tail},
    )
    calibrations.save_calibrations(database, START, "3", {"BTC": calibration.to_json()}, START)
    coin, moment = {"symbol": "BTC", "coin_id": "bitcoin"}, at(0)
    gap = {**coin, "gap_start": moment, "gap_end": at(9), "evidence": "-", "found_at": moment}
    with database.writing() as connection:
        connection.execute(source_gaps.insert(), [gap])
        connection.execute(coin_identities.insert(), [{**coin, "listed": True, "checked_at": moment}])
        connection.execute(scored_through.insert(), [{**coin, "timestamp": moment, "scored_at": moment}])
    return database


TABLES = (
    raw_prices, rejected_prices, price_anomalies, price_revisions, detector_calibrations, source_gaps, scored_through,
    coin_identities,
)


def test_a_renamed_symbol_takes_everything_along(filled: Database) -> None:
    before = {table.name: stored_rows(filled, table) for table in TABLES}
    assert rename(filled, BTC, XBT) == 2
    after = {table.name: stored_rows(filled, table) for table in TABLES}
    for name, rows in after.items():
        assert len(rows) == len(before[name])
        assert {row["symbol"] for row in rows} == {"XBT" if r["symbol"] == "BTC" else "ETH" for r in before[name]}
    prices = {(row["symbol"], row["timestamp"]): row["price"] for row in after["raw_prices"]}
    assert (prices["XBT", at(0)], prices["XBT", at(5)]) == (101.0, 100.0)
    for row in after["rejected_prices"]:
        assert row["id"] == refusal_id(row["symbol"], row["day"], row["reason"], row["payload"])
    alarms = {(row["symbol"], row["kind"]): row for row in after["price_anomalies"]}
    move = alarms["XBT", "market_move"]
    assert move["id"] == anomaly_id("XBT", to_microseconds(at(0)), "market_move") == move["event_id"]
    assert {row["event_id"] for row in alarms.values()} == {move["id"]}
    assert (move["members"], move["explanation"]) == ("ETH,XBT", "XBT, BTC.B, BTC-A, WBTC, BTC2.")
    assert alarms["ETH", "jump"]["headline"] == "ETH fell with XBT."
    document = Calibration.from_json(after["detector_calibrations"][0]["document"])
    assert set(document.coins) == {"XBT"} and set(document.tails) == {"XBT jump short", "* jump short"}
    assert rename(filled, BTC, XBT) == 0, "doing it again changes nothing"
    assert {table.name: stored_rows(filled, table) for table in TABLES} == after


def test_a_row_that_has_the_new_name_already_stays(filled: Database) -> None:
    store(filled, raw_prices, price_row("XBT", 0, 7.0, coin_id="bitcoin"))
    assert rename(filled, BTC, XBT) == 2
    found = [row["price"] for row in stored_rows(filled, raw_prices) if row["symbol"] == "XBT"]
    assert found == [7.0, 100.0]


def test_a_coin_whose_id_was_renamed_keeps_its_history(filled: Database) -> None:
    new = Coin("BTC", "bitcoin-2")
    assert rename(filled, BTC, new) == 2
    for table in TABLES[:-1]:
        found = {row["coin_id"] for row in stored_rows(filled, table) if row["symbol"] == "BTC"}
        assert found == {"bitcoin-2"}, table.name
    assert stored_rows(filled, coin_identities)[0]["coin_id"] == "bitcoin", "that was listed under the former id"
