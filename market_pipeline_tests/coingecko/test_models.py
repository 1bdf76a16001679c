"""From documents to points, coins and limits."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_pipeline.coingecko.models import (
    KeyInfo,
    ListedCoin,
    chart_points,
    key_info,
    listed_coins,
    payload_text,
    price_points,
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def test_milliseconds_become_seconds() -> None:
    point = chart_points([[1621089594955, 48_000.5]], "bitcoin")[0]
    assert (point.timestamp, point.price) == (1621089594.955, 48_000.5)
    assert point.payload == "[1621089594955, 48000.5]"


@pytest.mark.parametrize("raw", [None, "1621089594955", True, [1], 10**400])
def test_a_time_that_is_no_number_stays_as_it_came(raw: object) -> None:
    assert chart_points([[raw, 1.0]], "bitcoin")[0].timestamp == raw


@pytest.mark.parametrize("pair", [None, [], [1], [1, 2, 3], "ab", {"0": 1, "1": 2}, 7])
def test_what_is_no_pair_becomes_a_point_without_price(pair: object) -> None:
    point = chart_points([pair], "bitcoin")[0]
    assert (point.price, point.timestamp) == (None, None)
    assert json.loads(point.payload) == pair


@pytest.mark.parametrize("entry", [None, {}, [], 5, "x", {"eur": 1.0}])
def test_an_entry_without_a_dollar_price_becomes_a_point_without_price(entry: object) -> None:
    point = price_points({"bitcoin": entry}, ("bitcoin",)).points[0]
    assert point.price is None
    assert json.loads(point.payload) == {"bitcoin": entry}


def test_an_untrusted_id_is_made_safe_for_logs() -> None:
    unasked = price_points({"\ud800\n" + "x" * 500: {}}, ()).unasked[0]
    assert unasked.startswith("\\ud800\\nxxx") and len(unasked) == 100


def test_of_many_unasked_ids_the_first_are_named_and_the_rest_counted() -> None:
    answer = price_points({f"coin-{number}": {} for number in range(50_000)}, ("bitcoin",))
    assert answer.unasked == (*(f"coin-{number}" for number in range(20)), "and 49,980 more")


def test_a_payload_is_bounded_and_says_that_it_was_cut() -> None:
    text = payload_text({"bitcoin": "x" * 10_000})
    assert len(text) == 2_000 and text.endswith("...")


def test_a_payload_too_deep_for_json_is_still_text() -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    assert payload_text(deep).isascii()
    # Taken apart by hand: freeing it in one go would recurse as deeply.
    while deep:
        deep = deep.pop()


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(["bitcoin", "ethereum"]) | st.text(), ANYTHING))
def test_whatever_a_price_answer_holds_each_coin_becomes_one_point(document: dict[str, object]) -> None:
    answer = price_points(document, ("bitcoin", "solana"))
    assert [point.coin_id for point in answer.points] == ["bitcoin", "solana"]
    assert all(point.payload.isascii() and len(point.payload) <= 2_000 for point in answer.points)
    assert len(answer.unasked) == min(21, len(set(document) - {"bitcoin", "solana"}))


@given(st.lists(ANYTHING))
@settings(max_examples=30)
def test_whatever_a_history_holds_each_element_becomes_one_point(prices: list[object]) -> None:
    points = chart_points(prices, "bitcoin")
    assert len(points) == len(prices)
    assert all(point.payload.isascii() and len(point.payload) <= 2_000 for point in points)


ACCOUNT = {
    "plan": "Analyst",
    "rate_limit_request_per_minute": 500,
    "monthly_call_credit": 500_000,
    "current_remaining_monthly_calls": 499_000,
}


def of_key(per_minute: int, credits: int, calls: int) -> dict[str, Any]:
    return {
        "api_key_rate_limit_request_per_minute": per_minute,
        "api_key_monthly_call_credit": credits,
        "api_key_current_total_monthly_calls": calls,
    }


@pytest.mark.parametrize(
    ("own", "limits"),
    [
        ({}, (500, 500_000, 499_000)),
        (of_key(500, 500_000, 8), (500, 500_000, 499_000)),
        (of_key(40, 2_000, 600), (40, 2_000, 1_400)),
        (of_key(40, 2_000, 2_600), (40, 2_000, 0)),
        (of_key(900, 900_000, 0), (500, 500_000, 499_000)),
        ({"api_key_monthly_call_credit": None}, (500, 500_000, 499_000)),
    ],
)
def test_the_tighter_limit_counts_that_of_the_account_or_that_of_the_key(
    own: dict[str, Any], limits: tuple[int, int, int]
) -> None:
    """The limits of the key alone are newer and may be missing."""
    assert key_info({**ACCOUNT, **own}) == KeyInfo("Analyst", *limits)


@pytest.mark.parametrize("name", ACCOUNT)
@pytest.mark.parametrize("value", [None, -1, True, 1.5, 2**63])
def test_an_answer_without_a_limit_says_which(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        key_info({**ACCOUNT, name: value})


def test_odd_entries_of_the_list_are_read_as_far_as_possible() -> None:
    entries = [{"id": "_"}, {"id": "a", "symbol": None, "name": 7}, {"symbol": "x"}, None]
    assert listed_coins(entries) == (ListedCoin("_", "", ""), ListedCoin("a", "", "7"))
