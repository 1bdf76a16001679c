"""Calibrations: kept as they were first stored, and found by the day that they score."""

from datetime import datetime, timedelta, timezone

import pytest

from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.storage.db_errors import WriteFailed
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import (
    calibrations_for,
    outdated_calibrations,
    save_calibrations,
    stored_documents,
    symbols_with_prices,
)
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import START, at, price_row, prices_of


def document(hours):
    """A calibration that is told by its hours."""
    return Calibration(datetime(2000, 1, 1, tzinfo=timezone.utc), (float(hours),) * 24).to_json()


@pytest.fixture
def keep(database):
    """Stores a calibration of `symbols` as of midnight `day` days after `START`, told by its hours."""

    def store(day, hours, version="3", symbols=("BTC",)):
        documents = dict.fromkeys(symbols, document(hours))
        return save_calibrations(database, at(day * 1440), version, documents, at(day * 1440 - 60))

    return store


def day(number):
    return (START + timedelta(days=number)).date()


def calibration_for(database, day, version):
    found = calibrations_for(database, [day], version).get(day)
    return None if found is None else found.hours[0]


def test_a_calibration_that_is_stored_is_never_changed(database, keep):
    """Days may have been scored with it; scoring them again must give the same rows."""
    assert keep(0, 1) == ("BTC",)
    assert keep(0, 2) == ()
    assert keep(0, 2, symbols=("ADA", "BTC")) == ("ADA",)
    assert stored_documents(database, START, "3") == {"ADA": document(2), "BTC": document(1)}
    assert keep(0, 3, version="4")
    assert stored_documents(database, START, "3")["BTC"] == document(1)
    assert stored_documents(database, at(1), "3") == {}


def test_a_day_is_scored_with_the_newest_calibration_known_when_it_began(database, keep):
    for number in (1, 2, 4):
        keep(number, number)
    found = {n: calibration_for(database, day(n), "3") for n in (0, 1, 2, 3, 4, 9)}
    assert found == {0: None, 1: 1, 2: 2, 3: 2, 4: 4, 9: 4}


def test_one_of_the_day_itself_comes_too_late_for_it(database):
    save_calibrations(database, at(1), "3", {"BTC": document(5)}, at(0))
    assert calibration_for(database, day(0), "3") is None
    assert calibration_for(database, day(1), "3") == 5


def test_a_calibration_of_other_detectors_is_not_taken(database, keep):
    keep(0, 1, version="2")
    keep(2, 2, version="3")
    assert calibration_for(database, day(1), "3") is None
    assert calibration_for(database, day(5), "2") == 1


def test_many_days_are_answered_at_once_and_like_one_by_one(database, keep):
    for number in (-40, 1, 2, 4, 80):
        keep(number, 50 + number)
    days = [day(n) for n in (5, 0, 3, 1, 2, -60, 0)]
    alone = {d: calibration_for(database, d, "3") for d in days}
    found = {d: calibration.hours[0] for d, calibration in calibrations_for(database, days, "3").items()}
    assert found == {d: hours for d, hours in alone.items() if hours}
    assert alone[day(0)] == 10 and alone[day(-60)] is None
    assert calibrations_for(database, [], "3") == {}


def test_installations_that_share_a_database_have_calibrations_of_their_own(database, keep):
    """Whoever came second found that of the first, without its own coins, and stored nothing."""
    other = Database(database.url, {"BTC": "bitcoin-cash", "PEPE": "pepe"})
    keep(0, 1)
    assert stored_documents(other, START, "3") == {}, "BTC is another coin there"
    assert save_calibrations(other, START, "3", dict.fromkeys(other.coins, document(2)), START) == ("BTC", "PEPE")
    assert calibration_for(database, day(0), "3") == 1
    assert calibration_for(other, day(0), "3") == 2
    keep(1, 3)
    assert calibration_for(other, day(1), "3") == 2, "what is newer is not of its coins"
    other.dispose()


def test_what_only_other_detectors_have_calibrated_is_told(database, keep):
    for number in (-3, 0, 1, 2):
        keep(number, 1, version="2", symbols=("ADA", "BTC"))
        keep(number, 1, version="1", symbols=("GONE",))
    keep(1, 2, version="3")
    keep(2, 2, version="3", symbols=("ADA", "BTC"))
    assert outdated_calibrations(database, at(-60), "3") == {at(0): ["ADA", "BTC"], at(1440): ["ADA"]}
    assert outdated_calibrations(database, at(-60), "2") == {}


def test_a_refused_calibration_says_so_and_nothing_is_stored(database):
    with pytest.raises(WriteFailed, match="detector_calibrations: the database refused the rows"):
        save_calibrations(database, START, "3", {"ADA": document(1), "BTC": None}, START)
    assert stored_documents(database, START, "3") == {}


def test_who_has_quotes_in_a_time_is_told(database):
    upsert(database, raw_prices, prices_of(price_row("BTC", 5), price_row("ETH", 9), price_row("ADA", 0)))
    assert symbols_with_prices(database, ["ADA", "BTC", "ETH", "SOL"], at(5), at(9)) == ["BTC"]
