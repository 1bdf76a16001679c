"""Prices of a symbol under another coin id are reported with a remedy."""

from datetime import date

from market_pipeline.core.symbols import Catalogue, Coin
from market_pipeline.pipeline.other_coins import other_coins, price_count, stored_ids
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import START, at, price_row, store


def test_the_other_coins_of_a_symbol_are_found_by_their_ids(database: Database) -> None:
    day = [price_row("BASE", minute, coin_id="wrong") for minute in range(0, 1440, 60)]
    late = price_row("BASE", 3 * 1440, coin_id="simulated:right")
    right = [price_row("BASE", 1440 + minute, coin_id="right") for minute in range(0, 1440, 60)]
    store(database, raw_prices, *day, late, *right)
    corrected = Database(database.url, {"BASE": "right"})
    assert stored_ids(corrected, "BASE") == ["right", "simulated:right", "wrong"]
    assert stored_ids(corrected, "ETH") == []
    assert price_count(corrected, Coin("BASE", "wrong")) == 24
    catalogue, now = Catalogue([Coin("BASE", "right"), Coin("ETH", "ethereum")]), at(9 * 1440)
    simulated, wrong = other_coins(corrected, catalogue, date(2024, 1, 1), now)
    assert (simulated.prices, simulated.missing) == (1, (date(2024, 3, 4),))
    assert (wrong.prices, wrong.first, wrong.last) == (24, START.date(), START.date())
    assert str(wrong) == "BASE also holds 24 prices of wrong (2024-03-01), not used"
    backfill = "fetch the prices of right: market-pipeline backfill"
    assert wrong.remedy.startswith(f"{backfill} --from 2024-03-01 --to 2024-03-01 --symbols BASE")
    assert "rename" not in simulated.remedy and simulated.remedy.startswith(backfill)
    simulating = Database(database.url, catalogue.simulated.ids)
    real = other_coins(simulating, catalogue.simulated, date(2024, 1, 1), now)[0]
    simulating.dispose()
    assert real.remedy.startswith("COINGECKO_BASE_URL is an address of this machine")
    later = other_coins(corrected, catalogue, date(2024, 3, 2), now)
    assert [(other.missing, other.remedy == "") for other in later] == [((date(2024, 3, 4),), False), ((), True)]
    store(corrected, raw_prices, *({**row, "coin_id": "right"} for row in day))
    assert other_coins(corrected, catalogue, date(2024, 1, 1), now)[1].missing == ()
    corrected.dispose()
