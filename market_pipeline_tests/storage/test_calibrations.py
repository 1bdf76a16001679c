"""Calibrations of past days never change once stored, and are found by the day that they score."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta, timezone

import pytest

from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.storage.db_errors import WriteFailed
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import (
    calibration_times,
    calibrations_for,
    save_calibrations,
    stored_documents,
    symbols_with_prices,
)
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import START, at, price_row, store

Save = Callable[..., tuple[str, ...]]


def document(hours: float) -> str:
    """A calibration that its hours identify."""
    return Calibration(datetime(2000, 1, 1, tzinfo=timezone.utc), (float(hours),) * 24).to_json()


def day(number: int) -> date:
    return (START + timedelta(days=number)).date()


@pytest.fixture
def save(database: Database) -> Save:
    """Store a calibration of `symbols` as of midnight `number` days after `START`, identified by its hours."""
    def store_document(
        number: int, hours: float, version: str = "3", symbols: Sequence[str] = ("BTC",)
    ) -> tuple[str, ...]:
        documents = dict.fromkeys(symbols, document(hours))
        return save_calibrations(database, at(number * 1440), version, documents, at(number * 1440 - 60))

    return store_document


def hours_by_day(database: Database, days: Sequence[int], version: str = "3") -> dict[int, float]:
    found = calibrations_for(database, [day(number) for number in days], version)
    return {number: found[day(number)].hours[0] for number in days if day(number) in found}


def test_a_stored_calibration_is_never_changed(database: Database, save: Save) -> None:
    """Days may have been scored with it; scoring them again must give the same rows."""
    assert save(0, 1) == ("BTC",)
    assert save(0, 2) == ()
    assert save(0, 2, symbols=()) == ()
    assert save(0, 2, symbols=("ADA", "BTC")) == ("ADA",)
    assert stored_documents(database, START, "3") == {"ADA": document(2), "BTC": document(1)}
    assert save(0, 3, version="4")
    assert stored_documents(database, START, "3")["BTC"] == document(1)
    assert stored_documents(database, at(1), "3") == {}
    documents = dict.fromkeys(("BTC", "ETH"), document(4))
    assert save_calibrations(database, START, "3", documents, at(9), replacing=True) == ("BTC", "ETH")
    assert stored_documents(database, START, "3") == {**documents, "ADA": document(2)}
    assert calibration_times(database, START, "3") == {START: at(9)}


def test_a_day_is_scored_with_the_newest_calibration_known_when_it_began(database: Database, save: Save) -> None:
    """Of the same version of the detectors; many days are answered like one by one."""
    for number in (-40, 1, 2, 4, 80):
        save(number, 50 + number)
    save(3, 1, version="2")
    expected = {0: 10, 1: 51, 2: 52, 3: 52, 4: 54, 9: 54}
    assert hours_by_day(database, [9, 0, 3, 1, 2, 4, -60, 0]) == expected
    for number in (-60, *expected):
        assert hours_by_day(database, [number]) == ({number: expected[number]} if number in expected else {})
    assert hours_by_day(database, [2, 5], "2") == {5: 1}
    assert calibrations_for(database, [], "3") == {}


def test_a_calibration_of_the_day_itself_comes_too_late_for_it(database: Database) -> None:
    save_calibrations(database, at(1), "3", {"BTC": document(5)}, at(0))
    assert hours_by_day(database, [0, 1]) == {1: 5}


def test_installations_that_share_a_database_have_calibrations_of_their_own(database: Database, save: Save) -> None:
    other = Database(database.url, {"BTC": "bitcoin-cash", "PEPE": "pepe"})
    save(0, 1)
    assert stored_documents(other, START, "3") == {}, "BTC is another coin there"
    documents = dict.fromkeys(other.coins, document(2))
    assert save_calibrations(other, START, "3", documents, START) == ("BTC", "PEPE")
    assert (hours_by_day(database, [0]), hours_by_day(other, [0])) == ({0: 1}, {0: 2})
    save(1, 3)
    assert hours_by_day(other, [1]) == {1: 2}, "the newer one is not of its coins"
    other.dispose()


def test_the_times_are_those_of_the_version_and_the_configured_coins(database: Database, save: Save) -> None:
    for number in (2, -1, 0, 1):
        save(number, 1, symbols=("ADA", "BTC"))
    save(3, 1, version="2")
    save(4, 1, symbols=("GONE",))
    made = {at(number * 1440): at(number * 1440 - 60) for number in (0, 1, 2)}
    assert list(calibration_times(database, START, "3").items()) == list(made.items())


def test_if_one_document_is_refused_none_is_stored(database: Database) -> None:
    documents: dict[str, str] = {"ADA": document(1), "BTC": None}  # type: ignore[dict-item]  # refused
    with pytest.raises(WriteFailed, match="detector_calibrations"):
        save_calibrations(database, START, "3", documents, START)
    assert stored_documents(database, START, "3") == {}


def test_symbols_with_prices_have_one_in_the_time(database: Database) -> None:
    store(database, raw_prices, price_row("BTC", 5), price_row("ETH", 9), price_row("ADA", 0))
    assert symbols_with_prices(database, ["ADA", "BTC", "ETH", "SOL"], at(5), at(9)) == ["BTC"]
