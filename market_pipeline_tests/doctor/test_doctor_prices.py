"""The stored prices: how old, how complete, of which coin, and what was refused."""

from datetime import datetime, timedelta

import pytest

from market_pipeline.coingecko.identity import Identity
from market_pipeline.core.clock import DAY, start_of_day, utc_now
from market_pipeline.core.program import DEMO_VARIABLE
from market_pipeline.core.symbols import Coin
from market_pipeline.doctor.report import Examination
from market_pipeline.doctor.stored_prices import (
    examine_absences,
    examine_coins,
    examine_freshness,
    examine_gaps,
    examine_refusals,
    examine_scores,
)
from market_pipeline.pipeline.coin_ids import save_identities
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import Interval
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.scores import record_scored
from market_pipeline.storage.queries.source_gaps import record_absences
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import price_row, refusal_row, store
from market_pipeline_tests.doctor.examining import Installed, only

HOUR = timedelta(hours=1)


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """What is read from the database is tested on both beside it."""
    return sqlite_database


def store_price(database: Database, symbol: str, at: datetime) -> None:
    store(database, tables.raw_prices, price_row(symbol, timestamp=at, ingested_at=at))


def test_each_symbol_shows_how_old_its_newest_quote_is(installed: Installed, database: Database) -> None:
    context, now = installed(database, MARKET_SYMBOLS="BTC,ETH,SOL,ADA"), utc_now()
    for symbol, age in (("BTC", timedelta(seconds=20)), ("ETH", 5 * HOUR), ("ADA", -HOUR / 6)):
        store_price(database, symbol, now - age)
    future, *found = examine_freshness(context)
    assert [diagnosis.status for diagnosis in found] == ["ok", "warn", "warn", "warn"]
    assert found[1].numbers["age_seconds"] == pytest.approx(5 * 3600, abs=30)
    assert found[2].detail == found[3].detail, "a quote of the future is not one yet"
    assert (future.status, future.numbers) == ("fail", {"future_quotes": 1}) and "ADA 1" in future.detail


def test_quotes_that_wait_for_their_score_are_a_failure(installed: Installed, database: Database) -> None:
    context, now = installed(database, MARKET_SYMBOLS="BTC"), utc_now()
    assert only(examine_scores, context).numbers == {}
    store_price(database, "BTC", now - HOUR)
    record_scored(database, {"BTC": now - HOUR})
    assert only(examine_scores, context).status == "ok"
    for minutes in (40, 1):
        store_price(database, "BTC", now - timedelta(minutes=minutes))
    diagnosis = only(examine_scores, context)
    assert diagnosis.status == "fail"
    assert diagnosis.numbers["scored_age_seconds_BTC"] == pytest.approx(3600, abs=30)


def test_days_with_gaps_are_counted_for_each_symbol(
    installed: Installed, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = utc_now().date()
    assert only(examine_gaps, installed(database, HISTORY_START=str(today))).status == "ok", "nothing can be missing"
    context = installed(database, MARKET_SYMBOLS="BTC,ETH", HISTORY_START=str(today - 3 * DAY))
    hours = [start_of_day(today) - n * HOUR for n in range(1, 73)]
    store(database, tables.raw_prices, *(price_row(timestamp=hour, ingested_at=hour) for hour in hours))
    diagnosis = only(examine_gaps, context)
    # A day counts from an hour after its end.
    settled = 3 if utc_now() >= start_of_day(today) + HOUR else 2
    assert diagnosis.status == "warn" and f"--from {today - 3 * DAY}" in diagnosis.remedy
    assert diagnosis.numbers == {"incomplete_days_BTC": 0, "incomplete_days_ETH": settled}
    monkeypatch.setenv(DEMO_VARIABLE, "1")
    remedy = only(examine_gaps, context).remedy
    assert remedy.startswith("`market-pipeline demo` fills them") and remedy.endswith(" --demo`.")


def test_what_is_considered_absent_is_listed_with_its_evidence(installed: Installed, database: Database) -> None:
    now = utc_now()
    day = now.date() - 2 * DAY
    context = installed(database, MARKET_SYMBOLS="BTC,ETH", HISTORY_START=str(day - 3 * DAY))
    diagnosis = only(examine_absences, context)
    assert (diagnosis.status, diagnosis.numbers) == ("ok", {"stretches": 0, "unproven": 0})
    for symbol, coin_id, proven in (("BTC", "bitcoin", True), ("ETH", "ethereum", False)):
        gap = Interval(start_of_day(day), start_of_day(day) + DAY)
        absence = Absence(symbol, coin_id, gap, f"Evidence for {coin_id}.", now, proven)
        record_absences(database, [(Coin(symbol, coin_id), gap)], [absence], [])
    diagnosis = only(examine_absences, context)
    assert (diagnosis.status, diagnosis.numbers) == ("warn", {"stretches": 2, "unproven": 1})
    again = f"{now + 3 * HOUR:%Y-%m-%d %H:%M} UTC"
    assert f"ETH from {day} 00:00 UTC" in diagnosis.detail and again in diagnosis.detail
    assert "Evidence for ethereum." in diagnosis.detail
    assert f"--from {day} --to {day} --again" in diagnosis.remedy
    assert "--again" in only(examine_gaps, context).remedy


def test_what_was_refused_in_the_last_day_is_counted_by_reason(installed: Installed, database: Database) -> None:
    context, now = installed(database), utc_now()
    assert only(examine_refusals, context).status == "ok"
    refused = [("negative_price", 1), ("negative_price", 23), ("missing_price", 2), ("missing_price", 25)]
    rows = [
        refusal_row(number, reason=reason, refused_at=now - age * HOUR) for number, (reason, age) in enumerate(refused)
    ]
    store(database, tables.rejected_prices, *rows)
    diagnosis = only(examine_refusals, context)
    assert diagnosis.status == "warn" and "replay" not in diagnosis.remedy
    assert diagnosis.numbers == {"refused": 3, "refused_negative_price": 2, "refused_missing_price": 1}
    store(database, tables.rejected_prices, refusal_row(9, reason="clock_behind", refused_at=now))
    assert "`market-pipeline replay` accepts" in only(examine_refusals, context).remedy


def test_each_coin_has_coingeckos_name_and_a_former_one_what_to_run(installed: Installed, database: Database) -> None:
    context = installed(database, MARKET_SYMBOLS="BTC,ETH")
    save_identities(database, [Identity("BTC", "bitcoin", True, "BTC", "Bitcoin", None, None)], utc_now())
    coins = only(examine_coins, context)
    assert coins.status == "ok" and coins.detail.startswith("BTC is Bitcoin, ") and coins.detail.endswith(": ETH")
    at = utc_now() - 3 * DAY
    store(database, tables.raw_prices, price_row(timestamp=at, ingested_at=at, coin_id="bitcoin-cash"))
    _, former = examine_coins(context)
    assert (former.name, former.status, former.numbers["prices"]) == ("former BTC", "warn", 1)
    assert former.remedy.endswith("market-pipeline rename BTC=bitcoin-cash BTC=bitcoin.")


@pytest.mark.parametrize(
    "examination", [examine_freshness, examine_scores, examine_gaps, examine_absences, examine_coins, examine_refusals]
)
def test_without_a_database_nothing_is_examined(examination: Examination, installed: Installed) -> None:
    assert only(examination, installed()).because_of == "database"
