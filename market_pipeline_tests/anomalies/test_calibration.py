"""The calibration as a value: stored as JSON, refused when it is none, and its look-ups."""

import json
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_pipeline.anomalies.calibration import (
    ALL_COINS,
    Calibration,
    CoinCalibration,
    LargestDays,
    floor,
    tail_key,
    tail_of,
)
from market_pipeline.anomalies.parameters import DETECTOR_VERSION, PARAMETERS
from market_pipeline.anomalies.scores.tails import PRIOR_TAILS, Tail

AS_OF = datetime(2023, 6, 1, tzinfo=timezone.utc)
ORDINARY = Calibration(
    AS_OF,
    tuple(1 + hour / 100 for hour in range(24)),
    {"BTC": CoinCalibration(-7.1, tuple(0.2 + 0.01 * step for step in range(21)), 25_920, 89.99, 8e-4, 9e-4)},
    {
        "BTC jump 5-minute": Tail(2.1, 0.02, 0.2, 0.7, 25_000, 88),
        "* jump 5-minute": Tail(2.2, 0.02, 0.25, 0.8, 125_000, 88),
    },
)

numbers = st.floats(1e-6, 1e6)
zones = st.sampled_from([timezone.utc, timezone(timedelta(hours=-7)), ZoneInfo("Europe/Berlin")])
calibrations = st.builds(
    Calibration,
    as_of=st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=zones),
    hours=st.tuples(*[numbers] * 24),
    coins=st.dictionaries(
        st.text(max_size=5),
        st.builds(
            CoinCalibration,
            numbers,
            st.tuples(*[numbers] * 21),
            st.integers(0, 10**6),
            numbers,
            st.none() | numbers,
            numbers,
        ),
        max_size=3,
    ),
    tails=st.dictionaries(
        st.text(max_size=20), st.builds(Tail, numbers, numbers, numbers, numbers, st.integers(0, 10**6)), max_size=3
    ),
    largest=st.dictionaries(
        st.text(max_size=5),
        st.builds(LargestDays, st.dates(), st.lists(st.tuples(st.dates(), numbers), max_size=3).map(tuple)),
        max_size=3,
    ),
    detector_version=st.text(max_size=8),
)


@settings(max_examples=20, deadline=None)
@given(calibrations)
def test_it_comes_back_from_json_unchanged(calibration: Calibration) -> None:
    text = calibration.to_json()
    again = Calibration.from_json(text)
    assert again == calibration
    assert again.to_json() == text
    assert again.as_of.utcoffset() == timedelta(0)


def test_a_time_that_a_zones_clock_skipped_is_the_same_time_afterwards() -> None:
    skipped = datetime(2023, 3, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    calibration = Calibration(skipped, ORDINARY.hours)
    assert Calibration.from_json(calibration.to_json()) == calibration


def test_its_json_is_plain_and_has_its_time_and_detector_version() -> None:
    found = json.loads(ORDINARY.to_json())
    assert found["as_of"] == "2023-06-01T00:00:00+00:00"
    assert found["detector_version"] == DETECTOR_VERSION
    assert found["tails"]["BTC jump 5-minute"]["threshold"] == 2.1


def without(name: str) -> str:
    return json.dumps({key: value for key, value in json.loads(ORDINARY.to_json()).items() if key != name})


def changed(**values: object) -> str:
    return json.dumps({**json.loads(ORDINARY.to_json()), **values})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rubbish",
        "null",
        "[]",
        "3",
        "{}",
        '"text"',
        *(without(name) for name in ("as_of", "hours", "coins", "tails", "detector_version")),
        changed(as_of=5),
        changed(as_of="yesterday"),
        changed(as_of="0001-01-01T00:00:00+05:00"),
        changed(hours=7),
        changed(hours=[1.0] * 23),
        changed(hours=["a"] * 24),
        changed(hours=[0.0] * 24),
        changed(hours=[float("nan")] * 24),
        changed(coins=[1]),
        changed(coins={"BTC": 1}),
        changed(coins={"BTC": {"level": 1.0}}),
        changed(tails={"BTC jump 5-minute": {"threshold": 1.0}}),
        changed(tails={"BTC jump 5-minute": {**vars(Tail(1, 1, 1, 1, 1)), "more": 1}}),
        changed(tails={"BTC jump 5-minute": None}),
    ],
)
def test_what_is_no_calibration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"calibration|hour factors|time zone|isoformat|Expecting value"):
        Calibration.from_json(text)


def test_the_error_names_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"not a calibration of this package.*'hours'"):
        Calibration.from_json(without("hours"))
    with pytest.raises(ValueError, match="23 hour factors"):
        Calibration(AS_OF, (1.0,) * 23)


def test_a_time_without_time_zone_is_refused() -> None:
    naive = datetime(2023, 6, 1)
    with pytest.raises(ValueError, match="2023-06-01T00:00:00 has no time zone"):
        Calibration(naive, ORDINARY.hours)
    with pytest.raises(ValueError, match="has no time zone"):
        Calibration.from_json(changed(as_of="2023-06-01T00:00:00"))


def test_the_same_moment_elsewhere_is_the_same_calibration() -> None:
    elsewhere = AS_OF.astimezone(timezone(timedelta(hours=-7)))
    assert Calibration(elsewhere, ORDINARY.hours).to_json() == Calibration(AS_OF, ORDINARY.hours).to_json()


def test_a_tail_is_mixed_with_that_of_all_coins_and_the_prior_by_what_each_rests_on() -> None:
    """A prior counts like 100 excesses."""
    at = np.array([3.0])
    own, pooled = ORDINARY.tails["BTC jump 5-minute"], ORDINARY.tails[tail_key(ALL_COINS, "jump", "5-minute")]
    prior = PRIOR_TAILS["jump", "5-minute"]
    of_all = 2_500 / 2_600 * pooled.probability(at) + 100 / 2_600 * prior.probability(at)
    eth = tail_of(ORDINARY, "ETH", "jump", "5-minute")
    assert eth.probability(at) == pytest.approx(of_all)
    assert (eth.basis, eth.days, eth.excesses) == ("pooled", 88, 2_500)
    btc = tail_of(ORDINARY, "BTC", "jump", "5-minute")
    assert btc.probability(at) == pytest.approx(500 / 600 * own.probability(at) + 100 / 600 * of_all)
    assert (btc.basis, btc.days, btc.excesses) == ("own", 88, 500)


@pytest.mark.parametrize("calibration", [None, ORDINARY])
def test_where_nothing_is_known_the_prior_holds(calibration: Calibration | None) -> None:
    found = tail_of(calibration, "BTC", "residual", "hourly")
    scores = np.array([0.0, 1.0, 5.0])
    assert found.probability(scores) == pytest.approx(PRIOR_TAILS["residual", "hourly"].probability(scores))
    assert (found.basis, found.days, found.excesses) == ("prior", 0, 0)


def test_the_floor_grows_with_the_horizon_and_with_the_coins_volatility() -> None:
    sizes = [floor(ORDINARY, "BTC", minutes) for minutes in (1, 5, 15, 60, 240, 1_440)]
    assert sizes[0] == sizes[1] and sizes[1:] == sorted(sizes[1:])
    calm = replace(ORDINARY, coins={"BTC": replace(ORDINARY.coins["BTC"], long=1e-6)})
    assert floor(calm, "BTC", 60) == PARAMETERS.least_move < sizes[3]
    assert floor(None, "BTC", 60) == floor(ORDINARY, "ETH", 60)


def test_the_last_day_as_large_is_found_among_the_largest() -> None:
    days = LargestDays(date(2022, 1, 1), ((date(2022, 5, 12), 30.0), (date(2022, 6, 13), 20.0)))
    assert days.last_at_least(19.0) == date(2022, 6, 13)
    assert days.last_at_least(21.0) == date(2022, 5, 12)
    assert days.last_at_least(31.0) is None


def test_volatility_percentiles_are_how_much_of_the_past_was_calmer() -> None:
    found = ORDINARY.volatility_percentiles("BTC", np.array([0.1, 0.2, 0.3, 0.305, 0.4, 9.0]))
    assert found == pytest.approx([0, 0, 50, 52.5, 100, 100])
    assert np.isnan(ORDINARY.volatility_percentiles("ETH", np.array([0.1, 9.0]))).all()


def test_the_parts_of_its_coins_make_it_whole_again() -> None:
    tail = Tail(2.1, 0.02, 0.2, 0.7, 25_000, 88)
    coin = ORDINARY.coins["BTC"]
    whole = replace(
        ORDINARY,
        coins={"BTC": coin, "USDC.E": coin},
        tails={**ORDINARY.tails, "USDC.E jump hourly": tail, "USDC.E market 5-minute": tail},
    )
    parts = [whole.of(symbol) for symbol in whole.coins]
    assert [set(part.coins) for part in parts] == [{"BTC"}, {"USDC.E"}]
    assert set(parts[0].tails) == {"BTC jump 5-minute", "* jump 5-minute"}
    assert Calibration.joined(parts) == whole
    assert whole.of("PEPE").coins == {}, "a coin that is not known has the hours and the tails of all"


def test_what_holds_for_all_coins_is_that_of_the_first_part() -> None:
    other = Tail(9.0, 0.02, 0.2, 0.7, 5_000)
    later = replace(ORDINARY, hours=(2.0,) * 24, tails={"* jump 5-minute": other}).of("ETH")
    joined = Calibration.joined([ORDINARY.of("BTC"), later])
    assert (joined.hours, joined.tails) == (ORDINARY.hours, ORDINARY.tails)
