"""What the headers of an answer ask for."""

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from market_pipeline.coingecko.answers import requested_wait, server_time

NOW = datetime(2025, 7, 25, 14, 53, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "60"}, 60),
        ({"Retry-After": " 2.5 "}, 2.5),
        ({"Retry-After": "Fri, 25 Jul 2025 14:54:00 GMT"}, 30),
        ({"Retry-After": "Fri, 25 Jul 2025 14:54:00"}, 30),
        ({"Retry-After": "Fri, 25 Jul 2025 14:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "9" * 300}, None),
        ({"x-ratelimit-reset": "2025-07-25 14:54:00 +0000"}, 30),
        ({"x-ratelimit-reset": "2025-07-25 16:54:00 +0200"}, 30),
        ({"x-ratelimit-reset": "Fri, 25 Jul 2025 14:54:00 GMT"}, 30),
        ({"x-ratelimit-reset": str(NOW.timestamp() + 12)}, 12),
        ({"x-ratelimit-reset": str(int(NOW.timestamp() * 1_000_000))}, None),
        ({"x-ratelimit-reset": "junk"}, None),
        ({"Retry-After": "10", "x-ratelimit-reset": "2025-07-25 14:54:00 +0000"}, 30),
        ({"Retry-After": "junk", "x-ratelimit-reset": "2025-07-25 14:54:00 +0000"}, 30),
    ],
)
def test_the_wait_that_a_server_asks_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert requested_wait(CaseInsensitiveDict(headers), NOW) == (
        seconds if seconds is None else pytest.approx(seconds)
    )


@pytest.mark.parametrize("ours", ["2025-07-25T14:00:00", "2025-07-25T14:53:30", "2026-01-01T00:00:00"])
@pytest.mark.parametrize(
    "asked",
    [
        {"Retry-After": "Fri, 25 Jul 2025 14:54:00 GMT"},
        {"x-ratelimit-reset": "2025-07-25 14:54:00 +0000"},
        {"x-ratelimit-reset": "1753455240"},
    ],
)
def test_a_time_is_measured_by_the_clock_of_the_server_that_names_it(
    asked: dict[str, str], ours: str
) -> None:
    """Our own clock may be wrong by hours, and the wait would be too."""
    sent = {"date": "Fri, 25 Jul 2025 14:53:30 GMT"}
    now = datetime.fromisoformat(ours).replace(tzinfo=timezone.utc)
    assert requested_wait(CaseInsensitiveDict({**sent, **asked}), now) == 30


def test_a_date_that_cannot_be_read_leaves_our_own_clock() -> None:
    headers = {"Date": "today", "Retry-After": "Fri, 25 Jul 2025 14:54:00 GMT"}
    assert requested_wait(CaseInsensitiveDict(headers), NOW) == 30


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Fri, 25 Jul 2025 14:53:30 GMT", NOW),
        ("", None),
        ("soon", None),
        ("Fri, 25 Jul 99999 14:53:30 GMT", None),
    ],
)
def test_the_time_of_the_server_is_read_from_its_date(text: str, moment: datetime | None) -> None:
    assert server_time(CaseInsensitiveDict({"Date": text})) == moment


@given(st.text(), st.text(), st.text())
def test_no_header_raises(after: str, reset: str, date: str) -> None:
    headers = {"Retry-After": after, "x-ratelimit-reset": reset, "Date": date}
    wait = requested_wait(CaseInsensitiveDict(headers), NOW)
    assert wait is None or wait >= 0
