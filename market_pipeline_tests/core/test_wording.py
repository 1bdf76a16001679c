"""Durations, lists and foreign messages as a person reads them."""

from datetime import timedelta

import pytest

from market_pipeline.core.wording import first_line, some, span


@pytest.mark.parametrize(("seconds", "text"), [
    (0.25, "0.2 s"), (12, "12 s"), (119, "119 s"), (300, "5 min"), (7200, "2 h"), (259_200, "3 days"),
])
def test_durations_are_written_in_their_largest_unit(seconds: float, text: str) -> None:
    assert span(seconds) == span(timedelta(seconds=seconds)) == text


def test_long_lists_are_cut_and_empty_messages_named() -> None:
    assert (some("abcdef", 2), some("ab")) == ("a, b and 4 more", "a, b")
    assert (first_line("\n  why \nmore"), first_line("")) == ("why", "no message")
