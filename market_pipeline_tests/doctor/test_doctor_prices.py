"""The stored prices: how old, how complete, what was refused."""

from datetime import timedelta

import pytest

from market_pipeline.coingecko.identity import Identity
from market_pipeline.core.clock import DAY, start_of_day, utc_now
from market_pipeline.core.symbols import Coin
from market_pipeline.doctor.stored_prices import (
    examine_absences,
    examine_coins,
    examine_freshness,
    examine_gaps,
    examine_refusals,
)
from market_pipeline.pipeline.coin_ids import save_identities
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import Interval
from market_pipeline.storage.queries.counts import refusals_by_reason
from market_pipeline.storage.queries.source_gaps import record_absences
from market_pipeline.storage.schema import tables


def refuse(database, number, reason, age):
    now = utc_now()
    row = {
        "id": f"{number:032d}", "symbol": "BTC", "coin_id": "bitcoin", "day": now.date(), "reason": reason,
        "detail": "-1",
        "timestamp": now, "payload": "{}", "source": "simple_price", "run_id": "r1", "refused_at": now - age,
    }
    with database.writing() as connection:
        connection.execute(tables.rejected_prices.insert().values(**row))


def test_each_symbol_tells_how_old_its_newest_quote_is(set_up, store_price, database):
    subject = set_up(database, MARKET_SYMBOLS="BTC,ETH,SOL,ADA")
    store_price(database, "BTC", timedelta(seconds=20))
    store_price(database, "ETH", timedelta(hours=5))
    store_price(database, "ADA", timedelta(minutes=-10))
    future, btc, eth, sol, ada = examine_freshness(subject)
    assert (btc.status, btc.detail) == ("ok", "20 s old")
    assert eth.status == "warn" and eth.detail == "5 h old, older than the last tick but one"
    assert sol.status == "warn" and sol.detail == "no quote is stored yet"
    assert ada.detail == sol.detail, "a quote of the future is none yet"
    assert future.status == "fail" and "ADA 1;" in future.detail and "delete these rows" in future.remedy
    assert eth.numbers["age_seconds"] == pytest.approx(5 * 3600, abs=30)


def test_days_with_gaps_are_counted_for_each_symbol(set_up, store_price, only, database):
    today = utc_now().date()
    subject = set_up(database, MARKET_SYMBOLS="BTC,ETH", HISTORY_START=str(today - 3 * DAY))
    midnight = start_of_day(today)
    for day in (1, 2, 3):
        for hour in range(24):
            store_price(database, "BTC", utc_now() - (midnight - day * DAY + timedelta(hours=hour)))
    finding = only(examine_gaps, subject)
    # A day counts from an hour after its end on.
    settled = 3 if utc_now() >= midnight + timedelta(hours=1) else 2
    assert finding.status == "warn"
    assert finding.numbers == {"incomplete_days_BTC": 0, "incomplete_days_ETH": settled}
    assert f"--from {today - 3 * DAY}" in finding.remedy


def test_no_gaps_are_told_as_such(set_up, only, database):
    """Before the first day of history nothing can be missing."""
    finding = only(examine_gaps, set_up(database, HISTORY_START=str(utc_now().date())))
    assert finding.status == "ok"


def test_what_is_believed_to_be_absent_is_listed_with_its_evidence(set_up, only, database):
    now = utc_now()
    day = now.date() - 2 * DAY
    subject = set_up(database, MARKET_SYMBOLS="BTC,ETH", HISTORY_START=str(day - 3 * DAY))
    finding = only(examine_absences, subject)
    assert (finding.status, finding.numbers) == ("ok", {"stretches": 0, "unproven": 0})
    for symbol, coin_id, proven in (("BTC", "bitcoin", True), ("ETH", "ethereum", False)):
        gap = Interval(start_of_day(day), start_of_day(day) + DAY)
        absence = Absence(symbol, coin_id, gap, f"Asked for {coin_id}.", now, proven)
        record_absences(database, [(Coin(symbol, coin_id), gap)], [absence], [])
    finding = only(examine_absences, subject)
    assert (finding.status, finding.numbers) == ("warn", {"stretches": 2, "unproven": 1})
    again = f"{now + timedelta(hours=3):%Y-%m-%d %H:%M} UTC"
    for words in (f"ETH from {day} 00:00 UTC", f"no prices since {now:%Y-%m-%d %H:%M} UTC, not proven", again,
                  "Asked for ethereum.", "proven, asked again from"):
        assert words in finding.detail
    assert f"--from {day} --to {day} --again" in finding.remedy
    assert "--again" in only(examine_gaps, subject).remedy


def test_what_was_refused_lately_is_counted_by_reason(set_up, only, database):
    subject = set_up(database)
    assert only(examine_refusals, subject).status == "ok"
    refuse(database, 1, "negative_price", timedelta(hours=1))
    refuse(database, 2, "negative_price", timedelta(hours=23))
    refuse(database, 3, "missing_price", timedelta(hours=2))
    refuse(database, 4, "missing_price", timedelta(hours=25))
    finding = only(examine_refusals, subject)
    assert finding.status == "warn" and finding.detail.endswith("2 negative_price, 1 missing_price")
    assert finding.numbers == {"refused": 3, "refused_negative_price": 2, "refused_missing_price": 1}
    assert refusals_by_reason(database, utc_now() - 2 * DAY) == {"missing_price": 2, "negative_price": 2}


def test_what_was_refused_for_the_clock_is_replayed(set_up, only, database):
    refuse(database, 1, "clock_behind", timedelta(hours=1))
    assert "`market-pipeline replay` accepts" in only(examine_refusals, set_up(database)).remedy


@pytest.mark.parametrize("examination", [examine_freshness, examine_gaps, examine_absences, examine_refusals])
def test_without_a_database_it_is_said_that_nothing_was_examined(examination, subject, only):
    assert only(examination, subject).because_of in ("database", "settings")


def test_each_coin_is_told_by_coingeckos_name_and_a_former_one_with_what_to_run(set_up, store_price, database):
    subject = set_up(database, MARKET_SYMBOLS="BTC,ETH")
    save_identities(database, [Identity("BTC", "bitcoin", True, "BTC", "Bitcoin", None, None)], utc_now())
    (coins,) = examine_coins(subject)
    assert (coins.status, coins.detail) == (
        "ok", "BTC is Bitcoin, not looked up yet (a run of past days does): ETH"
    )
    store_price(database, "BTC", 3 * DAY)
    with database.writing() as connection:
        connection.execute(tables.raw_prices.update().values(coin_id="bitcoin-cash"))
    _, former = examine_coins(subject)
    assert (former.name, former.status, former.numbers["prices"]) == ("former BTC", "warn", 1)
    assert former.remedy.startswith("Fetch the prices of bitcoin: market-pipeline backfill --from ")
    assert former.remedy.endswith("market-pipeline rename BTC=bitcoin-cash BTC=bitcoin.")
