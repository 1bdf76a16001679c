"""Numbers as a person reads them."""

from datetime import datetime, timedelta, timezone

import pytest

from market_pipeline.anomalies.words.formatting import (
    format_duration,
    format_interval,
    format_percent,
    format_price,
    format_ratio,
    format_signed,
    format_wait,
)


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (17234.56, "$17,235"), (1234567.8, "$1,234,568"), (1234.5, "$1,234.50"), (18.321, "$18.32"),
        (1.0, "$1.00"), (0.35124, "$0.3512"), (0.05, "$0.05000"), (0.000012345, "$0.00001234"),
        (1e-9, "$0.000000001000"), (1.5e-12, "$1.5e-12"), (1e300, "$1e+300"),
    ],
)
def test_prices_show_the_digits_that_matter(price, text):
    assert format_price(price) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.152, "15.2 %"), (-0.0613, "6.1 %"), (0.0018, "0.18 %"), (0.00002, "0.0020 %"), (3.5, "350 %"),
        (25.0, "2,500 %"), (1e7, "1.0e+09 %"), (1e-9, "less than 0.0001 %"), (-0.99999, "100.0 %"),
    ],
)
def test_percents_have_no_sign_and_two_digits_or_more(fraction, text):
    assert format_percent(fraction) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(8.34, "8.3"), (99.94, "99.9"), (1250.0, "1,250"), (3e7, "3.0e+07")]
)
def test_ratios_have_one_decimal_while_they_are_small(ratio, text):
    assert format_ratio(ratio) == text


@pytest.mark.parametrize(("fraction", "text"), [(-0.0153, "-1.5 %"), (0.0018, "+0.18 %")])
def test_moves_of_others_have_their_sign(fraction, text):
    assert format_signed(fraction) == text


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (0.2, "several times a day"), (0.9, "once a day"), (12.3, "once in 12 days"),
        (90, "once in 3 months"), (363, "once in 12 months"), (400, "once a year"), (4 * 365, "once in 4 years"),
        (1e9, "less than once in 1,000 years"),
    ],
)
def test_rarity_is_told_as_a_waiting_time(days, text):
    assert format_wait(days) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.001, "under 1 s"), (40, "40 s"), (300, "5 min"), (290, "5 min"), (3600, "60 min"),
        (7200, "2 h"), (12_600, "3.5 h"), (7 * 86_400, "7 days"), (2.5 * 86_400, "2.5 days"),
    ],
)
def test_durations_are_told_in_their_natural_unit(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("start", "seconds", "text"),
    [
        (datetime(2023, 6, 10, 4, 10), 300, "2023-06-10 04:10-04:15 UTC"),
        (datetime(2023, 6, 10, 4, 10, 5), 40, "2023-06-10 04:10:05-04:10:45 UTC"),
        (datetime(2023, 6, 10, 23, 58), 300, "2023-06-10 23:58 to 2023-06-11 00:03 UTC"),
    ],
)
def test_intervals_repeat_the_date_only_across_midnight(start, seconds, text):
    start = start.replace(tzinfo=timezone.utc)
    assert format_interval(start, start + timedelta(seconds=seconds)) == text


def test_intervals_are_told_in_utc_whatever_the_zone_of_the_times():
    start = datetime(2023, 6, 11, 1, 58, tzinfo=timezone(timedelta(hours=2)))
    assert format_interval(start, start + timedelta(minutes=1)) == "2023-06-10 23:58-23:59 UTC"
