"""The checks of alarms and bars: what they warn of, and in which runs they are made."""


from market_pipeline.core.clock import DAY
from market_pipeline.defs.checks.derived import bars_result, rarity_result
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import daily_bars, price_anomalies, raw_prices
from market_pipeline_tests.builders import START, anomaly_row, price_row, store
from market_pipeline_tests.defs.world import World

FIRST = START.date()


def bar(symbol: str, completeness: float) -> dict[str, object]:
    prices = dict.fromkeys(("open", "high", "low", "close"), 1.0)
    return {"symbol": symbol, "coin_id": price_row(symbol)["coin_id"], "day": FIRST, **prices, "quotes": 9,
            "realised_volatility": None, "completeness": completeness}


def test_more_alarms_than_a_person_reads_warn(sqlite_database: Database) -> None:
    store(sqlite_database, price_anomalies, *(anomaly_row("BTC", 60 * n, id=f"{n}") for n in range(15)))
    store(sqlite_database, price_anomalies, anomaly_row("ETH", id="e"))
    (early, late) = (rarity_result(sqlite_database, ("BTC", "ETH"), START + days * DAY) for days in (1, 8))
    assert not early.passed and "BTC: 15 alarms in seven days." in str(early.description)
    assert late.passed and late.description == "0 alarms of 2 symbols in seven days."


def test_a_day_with_prices_and_no_bar_warns_and_so_does_one_of_few_hours(sqlite_database: Database) -> None:
    for symbol in ("BTC", "ETH", "SOL"):
        store(sqlite_database, raw_prices, price_row(symbol, 5))
    store(sqlite_database, daily_bars, bar("ETH", 0.4), bar("SOL", 1.0))
    result = bars_result(sqlite_database, [(FIRST, symbol) for symbol in ("BTC", "ETH", "SOL", "ADA")])
    assert not result.passed
    assert str(result.description).startswith(
        f"BTC: no bar of {FIRST}. ETH: quotes in less than 50% of the hours of {FIRST}. "
    )
    assert bars_result(sqlite_database, [(FIRST, "SOL")]).passed


def test_both_are_made_with_their_assets_and_not_by_the_tick(pair: World) -> None:
    yesterday = pair.days_ago(1)
    assert pair.checks(pair.complete(yesterday, yesterday))["bars_cover_their_days"].passed
    assert pair.execute_check("daily_bars", "bars_cover_their_days").passed
    assert pair.checks(pair.execute("calibrate_detectors"))["alarms_are_rare"].passed
    assert not {"bars_cover_their_days", "alarms_are_rare"} & pair.checks(pair.tick()).keys()
