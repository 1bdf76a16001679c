"""A symbol whose coin id was corrected: what is stored of the former coin is kept, and no question sees it."""

from dataclasses import replace as changed
from datetime import timedelta

import pytest

from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import parse_catalogue
from market_pipeline.pipeline.missing_days import incomplete_days
from market_pipeline.pipeline.replay import apply, load_refusals, revalidate
from market_pipeline.prices.quotes import Quote, Reason, Refusal, Source
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import counts, latest
from market_pipeline.storage.queries.anomaly_pages import AnomalyFilter, anomalies_page, anomaly, event_members
from market_pipeline.storage.queries.coverage import day_coverage, first_times
from market_pipeline.storage.queries.integrity import quotes_in_future, symbols_without_quote
from market_pipeline.storage.queries.latest import newest_quote_times
from market_pipeline.storage.queries.price_pages import PriceQuery, newest_points, newest_table
from market_pipeline.storage.queries.silences import recent_silences
from market_pipeline.storage.revisions import revisions
from market_pipeline.storage.rows.read import read_columns, read_frame, rows_per_day
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import replace, upsert
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices, rejected_prices
from market_pipeline_tests.builders import (
    START,
    anomalies_of,
    anomaly_row,
    at,
    price_row,
    prices_of,
    refusal_row,
    refusals_of,
)

WRONG, RIGHT = "base-protocol", "base-token"
CATALOGUE = parse_catalogue(f"BASE={RIGHT}")
HOUR = 60


@pytest.fixture
def corrected(database):
    """The database of an installation that stored a day of the wrong coin before its id was corrected."""
    day = [price_row("BASE", minutes, coin_id=WRONG) for minutes in range(0, 24 * HOUR, HOUR)]
    upsert(database, raw_prices, prices_of(*day))
    upsert(database, raw_prices, prices_of({**day[0], "price": 99.0}))
    alarm = anomaly_row("BASE", 5, coin_id=WRONG, event_id="BASE 0 jump")
    upsert(database, price_anomalies, anomalies_of(anomaly_row("BASE", coin_id=WRONG), alarm))
    upsert(database, rejected_prices, refusals_of(refusal_row(1, "BASE", coin_id=WRONG)))
    corrected = Database(database.url, CATALOGUE.ids)
    yield corrected
    corrected.dispose()


@pytest.fixture
def part():
    return Slice("BASE", START.date(), START.date())


def test_no_question_about_prices_sees_another_coin(corrected, part):
    start, now, symbols = START, at(48 * HOUR), ["BASE"]
    day = (part.first, "BASE")
    for rows in (
        read_columns(corrected, raw_prices, [part]), read_frame(corrected, raw_prices, [part]),
        rows_per_day(corrected, raw_prices, [part]), rows_per_day(corrected, rejected_prices, [part]),
        revisions(corrected, [part]), newest_points(corrected, PriceQuery("BASE", None, None, 9), now),
        newest_table(corrected, PriceQuery("BASE", start, None, 9), now), first_times(corrected, symbols),
        latest.latest_quotes(corrected, symbols, now), latest.quotes_at(corrected, symbols, at(999)),
        recent_silences(corrected, symbols, start, now, timedelta(minutes=1)),
        counts.recently_refused(corrected, symbols, start),
    ):
        assert len(rows) == 0
    assert newest_quote_times(corrected, symbols, now) == {"BASE": None}
    assert symbols_without_quote(corrected, [part], timedelta(0), now) == {"BASE": [part.first]}
    assert counts.quotes_by_symbol(corrected, symbols, start, now) == {"BASE": 0}
    assert quotes_in_future(corrected, [part], start).count == 0
    assert [covered.points for covered in day_coverage(corrected, [part])] == [0]
    assert incomplete_days(corrected, CATALOGUE, part.first, part.last, now) == [day]


def test_no_answer_tells_alarms_of_another_coin(corrected):
    assert anomalies_page(corrected, ["BASE"], AnomalyFilter(), None, 9).rows == []
    assert anomaly(corrected, "BASE 0 jump") is None
    assert event_members(corrected, "BASE 0 jump") == []
    assert len(latest.anomalies_since(corrected, ["BASE"], START)) == 0
    assert not counts.alarms_by_severity(corrected, ["BASE"], START)


def test_prices_of_two_coins_at_one_time_are_two_rows(corrected, path, stored, part):
    right = price_row("BASE", price=2.0, coin_id=RIGHT)
    assert upsert(corrected, raw_prices, prices_of(right)) == 1
    assert [row["price"] for row in stored(corrected, raw_prices)][:2] == [99.0, 100.0], "the wrong coin's stay"
    assert read_columns(corrected, raw_prices, [part])["price"].tolist() == [2.0]
    assert revisions(corrected, [part]) == [], "nothing was replaced"


def test_scoring_a_day_again_replaces_the_alarms_of_another_coin(corrected, path, stored, part):
    """They have the same ids where both coins are flagged at one time."""
    assert replace(corrected, price_anomalies, anomalies_of(anomaly_row("BASE", coin_id=RIGHT)), [part]) == 1
    assert [row["coin_id"] for row in stored(corrected, price_anomalies)] == [RIGHT]


def test_a_refusal_of_another_coin_does_not_become_a_price_of_this_one(corrected, stored, part):
    noon = at(12 * HOUR)
    point = Refusal("BASE", WRONG, part.first, Reason.ZERO_PRICE, "It was zero.", None,
                    f"[{noon.timestamp() * 1000}, 5.0]", Source.HISTORY, at(48 * HOUR))
    rows = [{"id": point.id, "run_id": "r1", **vars(point)}]
    upsert(corrected, rejected_prices, columns_of(rejected_prices, rows))
    verdicts = revalidate(load_refusals(corrected, reason=Reason.ZERO_PRICE), at(72 * HOUR))
    assert apply(corrected, verdicts) == 1
    assert len(read_columns(corrected, raw_prices, [part])) == 0
    assert [row["price"] for row in stored(corrected, raw_prices) if row["timestamp"] == noon] == [5.0]


def test_the_former_id_brings_its_prices_back(corrected, part):
    former = Database(corrected.url, {"BASE": WRONG})
    assert len(read_columns(former, raw_prices, [part])) == 24
    former.dispose()


def test_a_quote_carries_the_id_it_was_asked_under():
    quote = Quote("BASE", RIGHT, START, 1.0, Source.LIVE, START)
    assert columns_of(raw_prices, [changed(quote, price=2.0)])["coin_id"].tolist() == [RIGHT]
