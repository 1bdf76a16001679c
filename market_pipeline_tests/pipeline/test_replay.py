"""The quarantine judged again: what is a price by today's rules moves in one transaction, nothing is lost."""

import json
from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import pytest
from sqlalchemy import text

from market_pipeline.pipeline.replay import Verdicts, apply, load_refusals, revalidate
from market_pipeline.prices.quotes import Quote, Reason, Refusal, Source
from market_pipeline.storage.db_errors import WriteFailed
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices
from market_pipeline_tests.builders import stored_rows
from market_pipeline_tests.builders import coin_id

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
LATER = NOON + timedelta(days=30)


def history(price, moment=NOON, symbol="BTC", reason=Reason.ZERO_PRICE, **changes):
    """A point of history that a rule of some former version refused."""
    return refusal(json.dumps([moment.timestamp() * 1000, price]), Source.HISTORY, symbol, reason, **changes)


def live(entry, symbol="BTC", reason=Reason.MISSING_PRICE, **changes):
    return refusal(json.dumps({"bitcoin": entry}), Source.LIVE, symbol, reason, **changes)


def refusal(payload, source, symbol="BTC", reason=Reason.NOT_A_NUMBER, day=DAY, refused_at=NOON):
    return Refusal(symbol, coin_id(symbol), day, reason, "So it was said.", None, payload, source, refused_at)


def quarantine(database, *refusals):
    rows = [
        {"id": r.id, "run_id": "r1", **{name: getattr(r, name) for name in r.__dataclass_fields__}}
        for r in refusals
    ]
    upsert(database, rejected_prices, columns_of(rejected_prices, rows))


def outcome(verdicts):
    return {
        "accepted": len(verdicts.accepted),
        "renamed": len(verdicts.renamed),
        "unchanged": len(verdicts.unchanged),
        "unreadable": len(verdicts.unreadable),
    }


@pytest.mark.parametrize(
    ("point", "became"),
    [
        (history(5.0), "accepted"),
        (live({"usd": 5, "last_updated_at": NOON.timestamp()}), "accepted"),
        (live({"usd": 5, "last_updated_at": (NOON - timedelta(days=9)).timestamp()}), "accepted"),
        (history(0), "unchanged"),
        (live(None), "unchanged"),
        (live({"not_in_answer": True, "answered_instead": []}), "unchanged"),
        (history(-5.0), "renamed"),
        (history(5.0, moment=NOON - timedelta(days=1)), "renamed"),
        (history(5.0, moment=NOON + timedelta(minutes=5)), "renamed"),
        (refusal('{"bitcoin": {"usd": 5, "last_upd...', Source.LIVE), "unreadable"),
        (refusal('"GET /coins/x answered 404"', Source.HISTORY), "unreadable"),
        (refusal('"GET /simple/price answered 404"', Source.LIVE), "unreadable"),
        (refusal("[" * 1990, Source.HISTORY), "unreadable"),
        (refusal('{"a": {"usd": 1}, "b": {"usd": 2}}', Source.LIVE), "unreadable"),
        (refusal("[1, 2, 3]", Source.HISTORY, reason=Reason.MISSING_PRICE), "unchanged"),
    ],
)
def test_a_refused_point_is_judged_as_if_it_came_again(point, became):
    assert outcome(revalidate([point], LATER))[became] == 1


def test_what_lay_in_the_future_when_it_came_is_no_price_however_late_it_is_replayed():
    ahead = history(5.0, moment=NOON + timedelta(hours=2), reason=Reason.FUTURE_TIMESTAMP)
    assert outcome(revalidate([ahead], LATER))["unchanged"] == 1


@pytest.mark.parametrize(("now", "became"), [
    (NOON + timedelta(minutes=2), "unchanged"), (NOON + timedelta(hours=3), "accepted"),
])
def test_what_lay_in_the_future_for_a_slow_clock_is_judged_by_the_clock_of_now(now, became):
    """It keeps its reason as long as the clock is behind."""
    ahead = live({"usd": 5, "last_updated_at": (NOON + timedelta(hours=3)).timestamp()}, reason=Reason.CLOCK_BEHIND)
    assert outcome(revalidate([ahead], now))[became] == 1


def test_a_point_of_history_lies_in_its_day_to_the_last_midnight():
    """As where it was asked for: the midnight belongs to both days."""
    midnight = datetime(2026, 3, 3, tzinfo=timezone.utc)
    point = history(5.0, moment=midnight, refused_at=midnight)
    assert [quote.timestamp for _, quote in revalidate([point], LATER).accepted] == [midnight]


def test_an_accepted_point_moves_and_is_learned_now(database):
    quarantine(database, history(5.0), history(0, moment=NOON - timedelta(hours=1)))
    assert apply(database, revalidate(load_refusals(database), LATER)) == 1
    assert stored_rows(database, raw_prices) == [
        {
            "symbol": "BTC",
            "coin_id": "bitcoin",
            "timestamp": NOON,
            "price": 5.0,
            "source": "market_chart",
            "ingested_at": LATER,
        }
    ]
    assert [row["reason"] for row in stored_rows(database, rejected_prices)] == ["zero_price"]


def test_what_is_still_refused_is_filed_under_the_reason_of_today(database):
    quarantine(database, history(-5.0))
    before = stored_rows(database, rejected_prices)[0]
    assert apply(database, revalidate(load_refusals(database), LATER)) == 0
    after = stored_rows(database, rejected_prices)[0]
    assert after["reason"] == "negative_price"
    assert after["id"] == load_refusals(database)[0].id != before["id"]
    kept = {"symbol", "day", "payload", "source", "run_id", "refused_at"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


def test_a_refusal_that_becomes_equal_to_another_one_is_one_row(database):
    quarantine(database, history(-5.0), history(-5.0, reason=Reason.NEGATIVE_PRICE))
    apply(database, revalidate(load_refusals(database), LATER))
    assert [row["reason"] for row in stored_rows(database, rejected_prices)] == ["negative_price"]


def test_a_stored_price_of_the_same_time_is_replaced_and_kept_in_the_revisions(database):
    known = Quote("BTC", "bitcoin", NOON, 4.0, Source.LIVE, NOON)
    upsert(database, raw_prices, columns_of(raw_prices, [known]))
    quarantine(database, history(5.0))
    assert apply(database, revalidate(load_refusals(database), LATER)) == 1
    assert [row["price"] for row in stored_rows(database, raw_prices)] == [5.0]
    with database.reading() as connection:
        found = connection.execute(text("SELECT price_before, price_after FROM price_revisions"))
        assert [tuple(row) for row in found] == [(4.0, 5.0)]


def test_a_stored_price_that_came_after_the_refused_one_stays(database):
    """CoinGecko was asked again meanwhile: its later answer is the better one."""
    known = Quote("BTC", "bitcoin", NOON, 4.0, Source.HISTORY, NOON + timedelta(minutes=1))
    upsert(database, raw_prices, columns_of(raw_prices, [known]))
    quarantine(database, history(5.0, refused_at=NOON))
    assert apply(database, revalidate(load_refusals(database), LATER)) == 0
    assert [row["price"] for row in stored_rows(database, raw_prices)] == [4.0]
    assert stored_rows(database, rejected_prices) == []


def test_of_two_points_of_one_time_the_later_refused_wins(database):
    first = history(5.0)
    second = history(6.0, refused_at=NOON + timedelta(hours=1))
    quarantine(database, second, first)
    assert apply(database, revalidate(load_refusals(database), LATER)) == 1
    assert [row["price"] for row in stored_rows(database, raw_prices)] == [6.0]
    assert stored_rows(database, rejected_prices) == []


def test_a_write_that_fails_changes_nothing(database):
    """A quote that the table refuses, behind one that it takes and one that is renamed."""
    good, bad, renamed = history(5.0), history(7.0, moment=NOON - timedelta(hours=1)), history(-5.0)
    quarantine(database, good, bad, renamed)
    before = stored_rows(database, rejected_prices)
    verdicts = revalidate(load_refusals(database), LATER)
    spoiled = [
        (old, replace(q, price=-1.0) if q.price == 7.0 else q)
        for old, q in verdicts.accepted
    ]
    with pytest.raises(WriteFailed):
        apply(database, Verdicts(accepted=spoiled, renamed=verdicts.renamed))
    assert stored_rows(database, raw_prices) == []
    assert stored_rows(database, rejected_prices) == before


def test_moving_twice_is_the_same_as_once(database):
    """Two people may replay at once; both have read the same rows."""
    quarantine(database, history(5.0), history(-5.0))
    verdicts = revalidate(load_refusals(database), LATER)
    apply(database, verdicts)
    rows = stored_rows(database, raw_prices), stored_rows(database, rejected_prices)
    assert apply(database, verdicts) == 0
    assert (stored_rows(database, raw_prices), stored_rows(database, rejected_prices)) == rows


def test_the_quarantine_is_read_by_reason_symbol_and_days(database):
    earlier = DAY - timedelta(days=2)
    quarantine(
        database,
        history(0),
        history(0, symbol="ETH", moment=NOON - timedelta(hours=1)),
        history(-1, reason=Reason.NEGATIVE_PRICE, day=earlier),
    )
    found = load_refusals(database)
    assert Counter(point.reason for point in found) == {Reason.ZERO_PRICE: 2, Reason.NEGATIVE_PRICE: 1}
    assert len(load_refusals(database, reason=Reason.ZERO_PRICE)) == 2
    assert [point.symbol for point in load_refusals(database, symbol="ETH")] == ["ETH"]
    assert [point.day for point in load_refusals(database, last=earlier)] == [earlier]
    assert [point.day for point in load_refusals(database, first=DAY)] == [DAY, DAY]
    assert load_refusals(database, symbol="ETH", last=earlier) == []
