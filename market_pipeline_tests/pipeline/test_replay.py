"""The quarantine judged again: what is a price by today's rules moves in one transaction, nothing is lost."""

import json
from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import text

from market_pipeline.pipeline.replay import Verdicts, apply, load_refusals, revalidate
from market_pipeline.prices.quotes import Quote, Reason, Refusal, Source
from market_pipeline.storage.db_errors import WriteFailed
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices
from market_pipeline_tests.builders import coin_id, store, stored_rows

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
MIDNIGHT = datetime(2026, 3, 3, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
LATER = NOON + timedelta(days=30)


def refusal(
    payload: str, source: Source, symbol: str = "BTC", reason: Reason = Reason.NOT_A_NUMBER, day: date = DAY,
    refused_at: datetime = NOON,
) -> Refusal:
    return Refusal(symbol, coin_id(symbol), day, reason, "The reason then.", None, payload, source, refused_at)


def history(price: float, moment: datetime = NOON, reason: Reason = Reason.ZERO_PRICE, **changes: Any) -> Refusal:
    """A point of history that a rule of an earlier version refused."""
    return refusal(json.dumps([moment.timestamp() * 1000, price]), Source.HISTORY, reason=reason, **changes)


def live(entry: object, reason: Reason = Reason.MISSING_PRICE) -> Refusal:
    return refusal(json.dumps({"bitcoin": entry}), Source.LIVE, reason=reason)


def live_at(moment: datetime, reason: Reason = Reason.MISSING_PRICE) -> Refusal:
    return live({"usd": 5, "last_updated_at": moment.timestamp()}, reason)


def quarantine(database: Database, *refusals: Refusal) -> None:
    store(database, rejected_prices, *({"id": one.id, "run_id": "r1", **vars(one)} for one in refusals))


def replayed(database: Database) -> int:
    """Judge and move everything in quarantine; return how many prices are new or changed."""
    return apply(database, revalidate(load_refusals(database), LATER))


def prices(database: Database) -> list[float]:
    return [row["price"] for row in stored_rows(database, raw_prices)]


@pytest.mark.parametrize(
    ("point", "outcome"),
    [
        (history(5.0), "accepted"),
        (live_at(NOON), "accepted"),
        (live_at(NOON - timedelta(days=9)), "accepted"),
        (history(5.0, MIDNIGHT, refused_at=MIDNIGHT), "accepted"),
        (history(0), "unchanged"),
        (live(None), "unchanged"),
        (live({"not_in_answer": True, "answered_instead": []}), "unchanged"),
        (refusal("[1, 2, 3]", Source.HISTORY, reason=Reason.MISSING_PRICE), "unchanged"),
        (history(5.0, NOON + 2 * HOUR, Reason.FUTURE_TIMESTAMP), "unchanged"),
        (history(-5.0), "renamed"),
        (history(5.0, NOON - timedelta(days=1)), "renamed"),
        (history(5.0, NOON + timedelta(minutes=5)), "renamed"),
        (refusal('{"bitcoin": {"usd": 5, "last_upd...', Source.LIVE), "unreadable"),
        (refusal('"GET /coins/x answered 404"', Source.HISTORY), "unreadable"),
        (refusal('"GET /simple/price answered 404"', Source.LIVE), "unreadable"),
        (refusal("[" * 1990, Source.HISTORY), "unreadable"),
        (refusal('{"a": {"usd": 1}, "b": {"usd": 2}}', Source.LIVE), "unreadable"),
    ],
)
def test_a_refused_point_is_judged_as_of_its_answer(point: Refusal, outcome: str) -> None:
    """In the future then is no price however late the replay; the last midnight belongs to both of its days."""
    verdicts = revalidate([point], LATER)
    assert {name for name, found in vars(verdicts).items() if found} == {outcome}


@pytest.mark.parametrize(("now", "accepted"), [(NOON + timedelta(minutes=2), 0), (NOON + 3 * HOUR, 1)])
def test_what_was_in_the_future_for_a_slow_clock_is_judged_by_the_clock_of_today(
    now: datetime, accepted: int
) -> None:
    """The reason stays the same while the clock is behind."""
    verdicts = revalidate([live_at(NOON + 3 * HOUR, Reason.CLOCK_BEHIND)], now)
    assert (len(verdicts.accepted), len(verdicts.unchanged)) == (accepted, 1 - accepted)


def test_an_accepted_point_moves_and_is_ingested_now(database: Database) -> None:
    quarantine(database, history(5.0), history(0, NOON - HOUR))
    assert replayed(database) == 1
    assert stored_rows(database, raw_prices) == [{
        "symbol": "BTC", "coin_id": "bitcoin", "timestamp": NOON, "price": 5.0, "source": "market_chart",
        "ingested_at": LATER,
    }]
    assert [row["reason"] for row in stored_rows(database, rejected_prices)] == ["zero_price"]


def test_what_is_still_refused_is_filed_under_the_reason_of_today(database: Database) -> None:
    quarantine(database, history(-5.0))
    (before,) = stored_rows(database, rejected_prices)
    assert replayed(database) == 0
    (after,) = stored_rows(database, rejected_prices)
    assert after["id"] == load_refusals(database)[0].id != before["id"]
    changed = {"id", "reason", "detail", "timestamp"}
    assert after["reason"] == "negative_price"
    assert {name: after[name] for name in after.keys() - changed} == {
        name: before[name] for name in before.keys() - changed
    }
    quarantine(database, history(-5.0))
    replayed(database)
    assert stored_rows(database, rejected_prices) == [after], "the same refusal is one row"


@pytest.mark.parametrize(
    ("source", "ingested_at", "expected", "revisions"),
    [
        (Source.LIVE, NOON, 5.0, [(4.0, 5.0)]),
        (Source.HISTORY, NOON + timedelta(minutes=1), 4.0, []),
    ],
    ids=["earlier", "later: the better answer"],
)
def test_a_stored_price_of_the_same_time_is_replaced_if_it_is_older_and_goes_to_the_revisions(
    database: Database, source: Source, ingested_at: datetime, expected: float, revisions: list[tuple[float, float]]
) -> None:
    store(database, raw_prices, vars(Quote("BTC", "bitcoin", NOON, 4.0, source, ingested_at)))
    quarantine(database, history(5.0))
    assert replayed(database) == len(revisions)
    assert prices(database) == [expected] and stored_rows(database, rejected_prices) == []
    with database.reading() as connection:
        found = connection.execute(text("SELECT price_before, price_after FROM price_revisions"))
        assert [tuple(row) for row in found] == revisions


def test_of_two_points_of_one_time_the_later_refused_wins_and_a_second_replay_changes_nothing(
    database: Database,
) -> None:
    """Two people may replay at once: both have read the same rows."""
    quarantine(database, history(6.0, refused_at=NOON + HOUR), history(5.0), history(-5.0))
    verdicts = revalidate(load_refusals(database), LATER)
    assert apply(database, verdicts) == 1
    rows = stored_rows(database, raw_prices), stored_rows(database, rejected_prices)
    assert prices(database) == [6.0] and [row["reason"] for row in rows[1]] == ["negative_price"]
    assert apply(database, verdicts) == 0
    assert (stored_rows(database, raw_prices), stored_rows(database, rejected_prices)) == rows


def test_a_write_that_fails_changes_nothing(database: Database) -> None:
    """A quote that the table refuses, behind one that it takes and one that is renamed."""
    quarantine(database, history(5.0), history(7.0, NOON - HOUR), history(-5.0))
    before = stored_rows(database, rejected_prices)
    verdicts = revalidate(load_refusals(database), LATER)
    spoiled = [
        (old, replace(quote, price=-1.0) if quote.price == 7.0 else quote) for old, quote in verdicts.accepted
    ]
    with pytest.raises(WriteFailed):
        apply(database, Verdicts(accepted=spoiled, renamed=verdicts.renamed))
    assert prices(database) == [] and stored_rows(database, rejected_prices) == before


def test_the_quarantine_is_read_by_reason_symbol_and_days(sqlite_database: Database) -> None:
    earlier = DAY - timedelta(days=2)
    quarantine(
        sqlite_database,
        history(0),
        history(0, NOON - HOUR, symbol="ETH"),
        history(-1, reason=Reason.NEGATIVE_PRICE, day=earlier),
    )

    def found(**filters: Any) -> Counter[tuple[str, date]]:
        return Counter((one.symbol, one.day) for one in load_refusals(sqlite_database, **filters))

    assert found() == {("BTC", DAY): 1, ("ETH", DAY): 1, ("BTC", earlier): 1}
    assert found(reason=Reason.ZERO_PRICE) == found(first=DAY) == {("BTC", DAY): 1, ("ETH", DAY): 1}
    assert found(symbol="ETH") == {("ETH", DAY): 1}
    assert found(last=earlier) == {("BTC", earlier): 1}
    assert found(symbol="ETH", last=earlier) == {}
