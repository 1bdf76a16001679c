"""Calibrations: kept as they were first stored, and found by the day that they score."""

from datetime import timedelta

import pytest

from market_pipeline.storage.calibrations import (
    calibrations_for, of_other_versions, save, stored_document,
)
from market_pipeline.storage.errors import WriteFailed


@pytest.fixture
def keep(database, make):
    """Stores a calibration as of midnight `day` days after `START`."""

    def store(day, document, version="3"):
        return save(database, make.at(day * 1440), version, document, make.at(day * 1440 - 60))

    return store


def day(make, number):
    return (make.START + timedelta(days=number)).date()


def calibration_for(database, day, version):
    return calibrations_for(database, [day], version).get(day)


def test_a_calibration_that_is_stored_is_never_changed(database, make, keep):
    """Days may have been scored with it; scoring them again must give the same rows."""
    assert keep(0, "first")
    assert not keep(0, "second")
    assert stored_document(database, make.START, "3") == "first"
    assert keep(0, "of other detectors", version="4")
    assert stored_document(database, make.START, "3") == "first"
    assert stored_document(database, make.at(1), "3") is None


def test_a_day_is_scored_with_the_newest_calibration_known_when_it_began(database, make, keep):
    for number in (0, 1, 3):
        keep(number, f"day {number}")
    found = {n: calibration_for(database, day(make, n), "3") for n in (-1, 0, 1, 2, 3, 9)}
    assert found == {-1: None, 0: "day 0", 1: "day 1", 2: "day 1", 3: "day 3", 9: "day 3"}


def test_one_of_the_day_itself_comes_too_late_for_it(database, make):
    save(database, make.at(1), "3", "a minute after midnight", make.at(0))
    assert calibration_for(database, day(make, 0), "3") is None
    assert calibration_for(database, day(make, 1), "3") == "a minute after midnight"


def test_a_calibration_of_other_detectors_is_not_taken(database, make, keep):
    keep(0, "old", version="2")
    keep(2, "new", version="3")
    assert calibration_for(database, day(make, 1), "3") is None
    assert calibration_for(database, day(make, 5), "2") == "old"


def test_many_days_are_answered_at_once_and_like_one_by_one(database, make, keep):
    for number in (-40, 1, 2, 4, 80):
        keep(number, f"day {number}")
    days = [day(make, n) for n in (5, 0, 3, 1, 2, -60, 0)]
    alone = {d: calibration_for(database, d, "3") for d in days}
    assert calibrations_for(database, days, "3") == {d: found for d, found in alone.items() if found}
    assert alone[day(make, 0)] == "day -40" and alone[day(make, -60)] is None
    assert calibrations_for(database, [], "3") == {}


def test_what_only_other_detectors_have_calibrated_is_told(database, make, keep):
    for number in (-3, 0, 1, 2):
        keep(number, "old", version="2")
        keep(number, "older", version="1")
    keep(1, "new", version="3")
    assert of_other_versions(database, make.at(-60), "3") == [make.at(0), make.at(2 * 1440)]
    assert of_other_versions(database, make.at(-60), "2") == []


def test_a_refused_calibration_says_so(database, make):
    with pytest.raises(WriteFailed, match="detector_calibrations: the database refused the rows"):
        save(database, make.START, "3", None, make.START)
