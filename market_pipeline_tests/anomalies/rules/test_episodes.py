"""Which flagged quotes are one move to a person, and the one row or alarm that is made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import Anomaly, alarms
from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.core.columns import Columns
from market_pipeline_tests.anomalies.quotes import scores_of, series

JUMP = {"jump_p": 1e-5}
LARGE = {"large_move_days": 50.0}


def path(prices: Sequence[float], flagged: Mapping[int, Mapping[str, Any]], back: int = 3, gap: float = 300) -> Columns:
    """Twenty quiet quotes at 100, then `prices`; flagged by their numbers, large moves since `back` quotes before."""
    quiet = (100 + 0.01 * (np.arange(20) % 2)).tolist()
    values: dict[str, dict[int, Any]] = {"large_move_before": {20 + row: 20 + row - back for row in flagged}}
    for row, scores in flagged.items():
        for name, value in scores.items():
            values.setdefault(name, {})[20 + row] = value
    return scores_of(series([*quiet, *prices], np.arange(20 + len(prices)) * gap), **values)


def facts(row: Anomaly) -> tuple[str, int, int, float]:
    """Kind, quote, length in quotes and rounded move."""
    minute = round((row.timestamp - row.timestamp.replace(hour=0, minute=0)).total_seconds() / 300)
    return row.kind, minute - 20, round(row.elapsed_seconds / 300), round(row.move, 2)


def test_a_large_move_is_one_row_from_its_start_to_its_peak_so_far() -> None:
    """The id and the time are those of its first flagged quote; a quote on the way back changes nothing."""
    prices = [98, 96, 93, 94, 94, 94]
    days = {1: {"large_move_days": 7.0}, 2: {"large_move_days": 70.0}, 3: LARGE, 4: LARGE}
    rows = [detect_columns(path(prices[: 1 + last], {row: days[row] for row in days if row <= last})) for last in days]
    assert [[facts(row) for row in found] for found in rows] == [
        [("large_move", 1, 2, -0.04)],
        [("large_move", 1, 3, -0.07)],
        [("large_move", 1, 3, -0.07)],
        [("large_move", 1, 3, -0.07)],
    ]
    assert len({row.id for found in rows for row in found}) == 1
    last = rows[-1][0]
    assert (last.expected_every_days, last.price_before, last.price_after) == (70.0, 100.01, 93)
    assert (last.episode_first, last.episode_peak.minute, last.episode_last.minute) == (last.timestamp, 50, 50)
    assert last.score == pytest.approx(np.log10(70)) and last.threshold == pytest.approx(np.log10(7))


@pytest.mark.parametrize(
    ("prices", "flagged", "moves"),
    [
        ([97, 94, 97, 100], (0, 1, 3), [-0.06, 0.06]),
        ([95, 98, 95], (0, 2), [-0.05, -0.03]),
        ([95, 96, 94], (0, 2), [-0.06]),
        ([95.5, *[95.51, 95.5] * 7, 85], (0, 15), [-0.045, -0.11]),
        ([95.5, *[95.51, 95.5] * 7, 94], (0, 15), [-0.06]),
        # After a pause a tenth more is drift, not the same move.
        ([95.5, *[95.51, 95.5] * 7, 94.9], (0, 15), [-0.045]),
    ],
    ids=["the way back", "after recovery", "hardly any recovery", "later, larger", "later, smaller", "a little more"],
)
def test_a_move_of_its_own_is_a_row_of_its_own(prices: list[float], flagged: Sequence[int], moves: list[float]) -> None:
    back = 16 if len(prices) > 10 else 3
    found = alarms(detect_columns(path(prices, dict.fromkeys(flagged, LARGE), back)))
    assert [row.move for row in found] == pytest.approx(moves, abs=6e-3)


def test_after_more_than_a_width_a_move_that_doubles_is_another_row() -> None:
    """The crash after a morning's fall wakes up again."""
    slow = np.linspace(96, 95, 14).tolist()
    rows = alarms(detect_columns(path([*slow, 85], dict.fromkeys([0, 4, 9, 14], LARGE), 12)))
    assert [(facts(row)[1], facts(row)[3]) for row in rows] == [(0, -0.05), (14, -0.11)]


@pytest.mark.parametrize(("gap", "neighbours"), [(300, 12), (3600, 1), (4500, 1)])
def test_the_width_of_an_episode_follows_the_usual_interval(gap: float, neighbours: int) -> None:
    """Hourly quotes lie up to 75 minutes apart."""
    steps = neighbours + 2
    prices = 96.0 * 0.96 ** np.arange(steps + 1)
    one = detect_columns(path(prices.tolist(), {0: JUMP, neighbours: JUMP}, gap=gap))
    two = detect_columns(path(prices.tolist(), {0: JUMP, steps: JUMP}, gap=gap))
    assert (len(alarms(one)), len(alarms(two))) == (1, 2)


def test_rows_about_one_move_are_one_alarm_that_tells_the_whole_of_it() -> None:
    """The first row represents the others, and is as rare as the rarest."""
    jump, user, large, later = rows = sorted(
        detect_columns(path([95, 95.1, 94, 90], {0: JUMP, 2: LARGE, 3: {"jump_p": 1e-7}})),
        key=lambda row: (row.timestamp, row.kind),
    )
    assert [row.kind for row in rows] == ["jump", "user_threshold", "large_move", "jump"]
    assert [row.event_id for row in rows] == [None, jump.id, jump.id, jump.id]
    assert {row.episode_id for row in rows} == {jump.id}
    assert alarms(rows) == [jump]
    assert facts(jump) == ("jump", 0, 4, -0.10)
    assert jump.p_calibrated == later.p_calibrated == 1e-7 and jump.p_raw is None
    assert facts(user) == ("user_threshold", 0, 1, -0.05) and facts(later) == ("jump", 3, 1, -0.04)
    assert facts(large)[2] == 3


def test_ids_are_digests_that_a_recomputation_finds_again() -> None:
    rows = detect_columns(path([98, 98], {0: JUMP}))
    assert [row.id for row in rows] == [row.id for row in detect_columns(path([98], {0: JUMP}))]
    assert [row.id for row in rows] == ["ebdb172f85eebfa06add86f753c7ea5d"]


@pytest.mark.parametrize(
    ("after", "verdict", "minutes"),
    [
        ([102] * 12, "persisted", 60),
        ([101.1] * 12, "persisted", 60),
        ([102] * 11 + [100.5], "reverted", 60),
        ([100.8] * 13 + [101.2], "persisted", 70),
        ([100.8] * 13 + [100.1], "reverted", 70),
        ([100.8] * 60, "reverted", 240),
        ([102] * 11, None, None),
        ([100.8] * 40, None, None),
    ],
)
def test_a_move_is_confirmed_an_hour_later_or_when_it_is_clear(
    after: list[float], verdict: str | None, minutes: int | None
) -> None:
    [row] = detect_columns(path([102, *(price + 0.001 * (n % 2) for n, price in enumerate(after))], {0: JUMP}))
    later = row.confirmed_at and (row.confirmed_at - row.timestamp).total_seconds() / 60
    assert (row.confirmation, later) == (verdict, minutes)


@pytest.mark.parametrize("gap", [3500, 86_400])
def test_where_quotes_are_rare_the_next_one_confirms(gap: float) -> None:
    [row] = alarms(detect_columns(path([130, 130.1, 130], {0: JUMP}, gap=gap)))
    assert row.confirmation == "persisted" and row.confirmed_price == 130.1


def test_leaving_the_market_is_not_confirmed() -> None:
    [row] = detect_columns(path([98, *[98.01, 98] * 20], {0: {"residual_p": 1e-5, "scope": "idiosyncratic"}}))
    assert (row.kind, row.confirmation) == ("idiosyncratic", None)
