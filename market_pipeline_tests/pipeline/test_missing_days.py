"""What is stored of the source's absences, and which days lack prices all the same."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone

import pytest
from alembic import command
from sqlalchemy import column, insert, select, table

from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.core.symbols import Catalogue, Coin, parse_catalogue
from market_pipeline.pipeline.missing_days import days_with_absences, empty_days, gappy_days, incomplete_days
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import Interval
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.source_gaps import record_absences, stored_absences
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import alembic_config, check_schema, migrate
from market_pipeline.storage.schema.types import UtcTimestamp
from market_pipeline_tests.builders import price_row
from market_pipeline_tests.builders import store as store_rows

START = datetime(2024, 3, 1, tzinfo=timezone.utc)
FIRST = START.date()
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
BTC, OTHER = Coin("BTC", "bitcoin"), Coin("BTC", "bitcoin-2")
ONE, TWO = parse_catalogue("BTC"), parse_catalogue("ETH,BTC")
NOW = START + 30 * DAY
Store = Callable[..., None]


def span(start: float, end: float) -> Interval:
    return Interval(START + start * HOUR, START + end * HOUR)


def absence(start: float, end: float, at: datetime = NOW, proven: bool = True, evidence: str = "asked") -> Absence:
    return Absence("BTC", "bitcoin", span(start, end), evidence, at, proven)


def record(
    database: Database, start: float, end: float, *found: Absence, coin: Coin = BTC, prices: Sequence[float] = ()
) -> None:
    """Record the absences found in an answer for the hours from `start` to `end`, with these prices."""
    record_absences(database, [(coin, span(start, end))], found, [("BTC", START + hour * HOUR) for hour in prices])


def spans(database: Database) -> list[Interval]:
    return [one.span for one in stored_absences(database, [BTC], START, NOW)]


@pytest.fixture
def store(database: Database) -> Store:
    """Return `store(symbol, hour, ...)`: store prices at these hours since START."""

    def write(symbol: str, *hours: float) -> None:
        store_rows(database, tables.raw_prices, *(price_row(symbol, 60 * hour) for hour in hours))

    return write


def test_an_absence_is_stored_with_its_evidence_and_read_where_it_overlaps(database: Database) -> None:
    record(database, 0, 240, absence(3, 9), absence(30, 40), absence(100, 200))
    (found,) = stored_absences(database, [BTC], START + 9 * HOUR, START + 100 * HOUR)
    assert (found.span, found.evidence, found.proven, found.since) == (span(30, 40), "asked", True, NOW)
    assert found.ask_again_at is not None and found.ask_again_at > NOW
    record_absences(database, [], [], [("BTC", START + 35 * HOUR)])
    assert len(spans(database)) == 3, "without an answer nothing changes"


def test_a_newer_answer_replaces_what_it_covers_and_no_more(database: Database) -> None:
    """A coin that did not exist for a month does not become due day after day because of one new answer."""
    record(database, 0, 720, absence(0, 720))
    record(database, 24, 48, absence(24, 48, evidence="asked again"))
    assert [(one.span, one.evidence) for one in stored_absences(database, [BTC], START, NOW)] == [
        (span(0, 24), "asked"), (span(24, 48), "asked again"), (span(48, 720), "asked")
    ]
    record(database, 24, 48, prices=[30])
    assert spans(database) == [span(0, 24), span(48, 720)]


def test_an_answer_about_another_coin_id_of_the_symbol_says_nothing_about_it(sqlite_database: Database) -> None:
    record(sqlite_database, 0, 24, absence(0, 24))
    assert stored_absences(sqlite_database, [OTHER], START, NOW) == []
    record(sqlite_database, 0, 24, coin=OTHER, prices=[1])
    assert spans(sqlite_database) == [span(0, 24)]


def test_short_silences_are_deleted_once_their_points_are_gone(sqlite_database: Database) -> None:
    """Only ticks need them, and there may be many of them a day."""
    record(sqlite_database, 0, 24, absence(1, 1.5), absence(3, 9))
    record(sqlite_database, 47, 49, absence(47.5, 48))
    assert spans(sqlite_database) == [span(1, 1.5), span(3, 9), span(47.5, 48)]
    record(sqlite_database, 50, 52)
    assert spans(sqlite_database) == [span(3, 9), span(47.5, 48)]


def incomplete(database: Database, catalogue: Catalogue = TWO, now: datetime = NOW) -> list[DayOfSymbol]:
    return incomplete_days(database, catalogue, FIRST, FIRST + 2 * DAY, now)


def test_days_with_a_gap_of_more_than_two_hours_or_without_prices_are_incomplete(
    database: Database, store: Store
) -> None:
    store("BTC", *range(24), *range(24, 48, 2), *(h for h in range(48, 72) if h not in (50, 51)))
    store("ETH", *range(48))
    assert incomplete(database) == [(FIRST + 2 * DAY, "ETH"), (FIRST + 2 * DAY, "BTC")]
    assert incomplete_days(database, TWO, FIRST, FIRST + DAY, NOW) == []


def test_proven_gaps_of_the_source_do_not_make_a_day_incomplete(database: Database, store: Store) -> None:
    store("ETH", *range(72))
    store("BTC", *range(8), *range(14, 30), *range(40, 48))
    record(database, 0, 72, absence(7, 14), absence(29, 39), absence(48, 72))
    assert incomplete(database) == [], "an hour more than what is known is no gap"
    record(database, 24, 48, absence(29, 35))
    assert incomplete(database) == [(FIRST + DAY, "BTC")]
    corrected = parse_catalogue("ETH,BTC=bitcoin-2")
    assert incomplete(database, corrected) == [(FIRST + n * DAY, "BTC") for n in range(3)], "of another coin"


@pytest.mark.parametrize(("proven", "incomplete"), [(True, False), (False, True)])
def test_a_silence_is_due_again_when_it_expires_and_until_then_only_a_proven_one_completes_the_day(
    database: Database, store: Store, proven: bool, incomplete: bool
) -> None:
    store("BTC", *range(17))
    asked = START + 26 * HOUR
    record(database, 0, 24, absence(16, 24, asked, proven))
    for hours, due in ((0, False), (2.9, False), (3, True)):
        query = (database, ONE, FIRST, FIRST, asked + hours * HOUR)
        assert incomplete_days(*query) == ([(FIRST, "BTC")] if incomplete or due else [])
        for find in (gappy_days, days_with_absences):
            assert [(gap.day, gap.symbol, gap.due) for gap in find(*query)] == [(FIRST, "BTC", due)]


def test_a_day_without_a_single_price_is_due_unless_the_source_had_none_a_short_time_ago(
    database: Database, store: Store
) -> None:
    store("BTC", 23, 48)
    store("ETH", *range(72))
    query = (database, TWO, FIRST, FIRST + 3 * DAY, NOW)
    assert [(gap.day, gap.symbol) for gap in empty_days(*query) if gap.due] == [
        (FIRST + 3 * DAY, "ETH"), (FIRST + DAY, "BTC"), (FIRST + 3 * DAY, "BTC"),
    ]
    record(database, 24, 48, absence(24, 48, NOW - HOUR, False))
    assert [(gap.day, gap.due) for gap in empty_days(*query) if gap.symbol == "BTC"] == [
        (FIRST + DAY, False), (FIRST + 3 * DAY, True),
    ]
    assert empty_days(database, TWO, FIRST + DAY, FIRST, NOW) == []


def test_a_silence_that_a_tick_found_today_is_due_once_the_day_is_over(
    sqlite_database: Database,
) -> None:
    """5-minute points of the present day say nothing about the hourly history that is published at night."""
    store_rows(sqlite_database, tables.raw_prices, *(price_row("BTC", 60 * h) for h in range(24) if not 8 <= h < 14))
    record(sqlite_database, 7, 14, absence(7, 14, START + 23 * HOUR, proven=False))
    (gap,) = gappy_days(sqlite_database, ONE, FIRST, FIRST, START + 25 * HOUR)
    assert gap.due and not gap.explained


@pytest.mark.parametrize(("hours", "days"), [(48.9, 1), (49, 2), (0.5, 0)])
def test_days_that_have_just_ended_do_not_count(sqlite_database: Database, hours: float, days: int) -> None:
    found = incomplete(sqlite_database, ONE, START + hours * HOUR)
    assert found == [(FIRST + n * DAY, "BTC") for n in range(days)]


def test_absences_of_earlier_versions_stay_and_are_due(database: Database, store: Store) -> None:
    """They may rest on one empty answer, so the day is incomplete and due at once."""
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
        assert [dict(found._mapping) for found in connection.execute(select(old))] == [row]
    later = START + 28 * HOUR
    (gap,) = gappy_days(database, ONE, FIRST, FIRST, later)
    assert gap.due and not gap.explained
    record(database, 0, 24, absence(16, 24, later, proven=False))
    (found,) = stored_absences(database, [BTC], START, later)
    assert (found.since, found.times_asked, found.ask_again_at) == (row["found_at"], 1, later + 3 * HOUR)
