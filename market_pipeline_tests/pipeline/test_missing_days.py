"""What is remembered of the source, and which days lack prices all the same."""

from datetime import date, datetime, timedelta, timezone

import pytest
from alembic import command
from sqlalchemy import column, insert, select, table

from market_pipeline.core.symbols import Coin, parse_catalogue
from market_pipeline.pipeline.missing_days import days_with_absences, due_days, gappy_days, incomplete_days
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import Interval
from market_pipeline.storage.queries.source_gaps import record_absences, stored_absences
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import alembic_config, check_schema, migrate
from market_pipeline.storage.schema.types import UtcTimestamp
from market_pipeline_tests.builders import price_row, prices_of

START = datetime(2024, 3, 1, tzinfo=timezone.utc)
FIRST = START.date()
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
BTC, ETH = Coin("BTC", "bitcoin"), Coin("ETH", "ethereum")
NOW = START + 30 * DAY


def span(start, end):
    return Interval(START + start * HOUR, START + end * HOUR)


def absence(start, end, coin=BTC, evidence="asked", at=NOW, proven=True):
    return Absence(coin.symbol, coin.coin_id, span(start, end), evidence, at, proven)


def answered(start, end, coin=BTC):
    return (Coin(coin.symbol, coin.coin_id), span(start, end))


def spans(database, *coins):
    return [one.span for one in stored_absences(database, coins or [BTC], START, NOW)]


def test_an_absence_is_remembered_with_its_evidence(database):
    found = absence(3, 9)
    record_absences(database, [answered(0, 24)], [found], [])
    (kept,) = stored_absences(database, [BTC, ETH], START, NOW)
    assert (kept.span, kept.evidence, kept.proven, kept.since) == (span(3, 9), "asked", True, NOW)
    assert kept.ask_again_at > NOW


def test_only_what_overlaps_is_given(database):
    record_absences(database, [answered(0, 240)], [absence(3, 9), absence(30, 40), absence(100, 200)], [])
    assert [one.span for one in stored_absences(database, [BTC], START + 9 * HOUR, START + 101 * HOUR)] == [
        span(30, 40), span(100, 200)
    ]


def test_finding_it_again_renews_the_evidence(database):
    record_absences(database, [answered(0, 24)], [absence(3, 9)], [])
    again = absence(3, 9, evidence="asked again")
    record_absences(database, [answered(0, 24)], [again], [])
    (kept,) = stored_absences(database, [BTC], START, NOW)
    assert (kept.span, kept.evidence) == (span(3, 9), "asked again")


def test_asking_for_one_day_again_leaves_the_others_known(database):
    """A coin that did not exist for a month is not asked for day after day because of one new answer."""
    record_absences(database, [answered(0, 720)], [absence(0, 720)], [])
    record_absences(database, [answered(24, 48)], [absence(24, 48, evidence="asked again")], [])
    assert spans(database) == [span(0, 24), span(24, 48), span(48, 720)]


def test_prices_that_the_source_has_by_now_end_an_absence(database):
    record_absences(database, [answered(0, 72)], [absence(0, 72)], [])
    record_absences(database, [answered(24, 48)], [], [("BTC", START + 30 * HOUR), ("ETH", START + 3 * HOUR)])
    assert spans(database) == [span(0, 24), span(48, 72)]


def test_another_coin_id_of_the_symbol_knows_nothing_of_it(database):
    record_absences(database, [answered(0, 24)], [absence(0, 24)], [])
    assert stored_absences(database, [Coin("BTC", "bitcoin-2")], START, NOW) == []
    record_absences(database, [answered(0, 24, Coin("BTC", "bitcoin-2"))], [], [("BTC", START + HOUR)])
    assert spans(database) == [span(0, 24)], "and its prices say nothing of the first"


def test_short_silences_are_forgotten_once_their_points_are_gone(database):
    """They serve the ticks alone, and there may be many of them a day."""
    record_absences(database, [answered(0, 24)], [absence(1, 1.5), absence(3, 9)], [])
    record_absences(database, [answered(47, 49)], [absence(47.5, 48)], [])
    assert spans(database) == [span(1, 1.5), span(3, 9), span(47.5, 48)]
    record_absences(database, [answered(50, 52)], [], [])
    assert spans(database) == [span(3, 9), span(47.5, 48)]


def test_a_run_without_answers_writes_nothing(database):
    record_absences(database, [], [], [("BTC", START)])
    assert spans(database) == []


@pytest.fixture
def store(database):
    """`store(symbol, hour, ...)`: prices at these hours since `START`."""

    def write(symbol, *hours):
        rows = [price_row(symbol, 60 * hour) for hour in hours]
        upsert(database, tables.raw_prices, prices_of(*rows))

    return write


CATALOGUE = parse_catalogue("ETH,BTC")


def incomplete(database, days=3, now=NOW, catalogue=CATALOGUE):
    last = FIRST + (days - 1) * DAY
    return incomplete_days(database, catalogue, FIRST, last, now)


def test_days_with_a_gap_of_more_than_two_hours_are_incomplete(database, store):
    store("BTC", *range(24), *range(24, 48, 2), *(h for h in range(48, 72) if h not in (50, 51)))
    store("ETH", *range(72))
    assert incomplete(database) == [(FIRST + 2 * DAY, "BTC")]


def test_days_without_any_price_are_incomplete(database, store):
    store("BTC", *range(48))
    assert incomplete(database) == [
        *((FIRST + n * DAY, "ETH") for n in range(3)), (FIRST + 2 * DAY, "BTC")
    ]


def test_proven_gaps_of_the_source_do_not_make_a_day_incomplete(database, store):
    store("ETH", *range(72))
    store("BTC", *range(8), *range(14, 30), *range(40, 48))
    record_absences(database, [answered(0, 72)], [absence(7, 14), absence(29, 39), absence(48, 72)], [])
    assert incomplete(database) == [], "an hour more than what is known is no gap"
    record_absences(database, [answered(24, 48)], [absence(29, 35)], [])
    assert incomplete(database) == [(FIRST + DAY, "BTC")]


def test_correcting_a_coin_id_makes_its_days_incomplete_again(database, store):
    store("ETH", *range(72))
    record_absences(database, [answered(0, 72)], [absence(0, 72)], [])
    assert incomplete(database) == []
    corrected = parse_catalogue("ETH,BTC=bitcoin-2")
    assert incomplete(database, catalogue=corrected) == [(FIRST + n * DAY, "BTC") for n in range(3)]


def test_a_silence_that_proves_nothing_leaves_the_day_incomplete_and_is_not_asked_for_until_its_time(
    database, store
):
    store("BTC", *range(17))
    asked = START + 26 * HOUR
    catalogue = parse_catalogue("BTC")
    record_absences(database, [answered(0, 24)], [absence(16, 24, at=asked, proven=False)], [])
    for hours, due in ((0, []), (2.9, []), (3, [(FIRST, "BTC")])):
        given = (database, catalogue, FIRST, FIRST, asked + hours * HOUR)
        assert incomplete_days(*given) == [(FIRST, "BTC")]
        assert due_days(*given) == due
        assert [one.due for one in days_with_absences(*given)] == [bool(due)]


def test_a_proven_absence_expires(database, store):
    store("BTC", *range(8), *range(14, 24))
    asked = START + 26 * HOUR
    catalogue = parse_catalogue("BTC")
    record_absences(database, [answered(0, 24)], [absence(7, 14, at=asked)], [])
    assert incomplete_days(database, catalogue, FIRST, FIRST, asked + 2.9 * HOUR) == []
    assert incomplete_days(database, catalogue, FIRST, FIRST, asked + 3 * HOUR) == [(FIRST, "BTC")]


def test_what_a_tick_did_not_find_today_is_asked_for_once_the_day_is_over(database, store):
    """5-minute points of the present day say nothing of the hourly history that is published at night."""
    store("BTC", *range(8), *range(14, 24))
    catalogue = parse_catalogue("BTC")
    record_absences(database, [answered(7, 14)], [absence(7, 14, at=START + 23 * HOUR, proven=False)], [])
    (gap,) = gappy_days(database, catalogue, FIRST, FIRST, START + 25 * HOUR)
    assert gap.due and not gap.explained


@pytest.mark.parametrize(
    ("now", "days"), [(START + 48.9 * HOUR, 1), (START + 49 * HOUR, 2), (START + HOUR / 2, 0)]
)
def test_days_that_have_just_ended_do_not_count(sqlite_database, now, days):
    catalogue = parse_catalogue("BTC")
    assert incomplete(sqlite_database, now=now, catalogue=catalogue) == [
        (FIRST + n * DAY, "BTC") for n in range(days)
    ]


def test_only_the_days_asked_for_are_looked_at(database, store):
    store("BTC", *range(48))
    store("ETH", *range(48))
    assert incomplete_days(database, CATALOGUE, date(2024, 3, 1), date(2024, 3, 2), NOW) == []


def test_absences_of_earlier_versions_are_kept_and_due(database, store):
    """They may rest on one empty answer, so the day is incomplete and asked for again at once."""
    store("BTC", *range(17))
    names = {"symbol": None, "coin_id": None, "evidence": None}
    times = dict.fromkeys(("gap_start", "gap_end", "found_at"), UtcTimestamp())
    old = table("source_gaps", *(column(name, type_) for name, type_ in (names | times).items()))
    row = {
        "symbol": "BTC", "coin_id": "bitcoin", "evidence": "0 points", "gap_start": START + 16 * HOUR,
        "gap_end": START + DAY, "found_at": START + 26 * HOUR,
    }
    with database.writing() as connection:
        command.downgrade(alembic_config(connection), "0005")
        connection.execute(insert(old).values(row))
    migrate(database)
    check_schema(database)
    with database.reading() as connection:
        assert [dict(kept._mapping) for kept in connection.execute(select(old))] == [row]
    later, catalogue = START + 28 * HOUR, parse_catalogue("BTC")
    (gap,) = gappy_days(database, catalogue, FIRST, FIRST, later)
    assert gap.due and not gap.explained
    record_absences(database, [answered(0, 24)], [absence(16, 24, at=later, proven=False)], [])
    (kept,) = stored_absences(database, [BTC], START, later)
    assert (kept.since, kept.times_asked, kept.ask_again_at) == (row["found_at"], 1, later + 3 * HOUR)
