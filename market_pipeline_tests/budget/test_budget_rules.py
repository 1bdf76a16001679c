"""The rules of the budget under any sequence of events, with nothing but a clock and a state."""

import itertools
from collections import Counter
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from market_pipeline.budget import credits, rules
from market_pipeline.budget.plan_limits import Limits
from market_pipeline.budget.rules import (
    GRACE,
    LONGEST_COOL_DOWN,
    MARGIN,
    MOST_OVERTAKES,
    POLL,
    SECOND,
    WINDOW,
    State,
    Ticket,
)
from market_pipeline.core.clock import month_of, next_month

START = 1_795_000_000 * SECOND
HOUR = 3_600 * SECOND


class Callers(RuleBasedStateMachine):
    """Several callers on one budget, as `SharedBudget` runs them, in a time that events move.

    `flowed` is the time that the clock has shown to pass: steps back do not reduce it. Windows and pauses
    are measured in it, because a single clock shows no more.
    """

    @initialize(limit=st.integers(1, 6), cap=st.integers(0, 40), reserve=st.integers(0, 5))
    def begin(self, limit: int, cap: int, reserve: int) -> None:
        self.limit, self.cap, self.limits = limit, cap, Limits(limit, cap)
        self.reserve = reserve
        self.state = State()
        self.now = START
        self.flowed = 0
        self.names = (f"caller {n}" for n in itertools.count())
        # By name, in the order of the queue: when the caller looks again, and whether it is for history.
        self.sleepers: dict[str, tuple[int, bool]] = {}
        self.under_way: list[int] = []
        self.grants: list[int] = []
        self.history_left: list[int] = []
        self.spent: Counter[date] = Counter()
        self.paused_until = 0

    def _bring(self) -> None:
        """Do what `SharedBudget` does at the start of every transaction."""
        self.state = rules.advance(self.state, self.now)
        if self.state.month != (month := month_of(self.now)):
            self.state = replace(self.state, month=month, credits_used=self.spent[month])

    def _pass(self, duration: int) -> None:
        self.now += duration
        self.flowed += duration

    def _look(self, name: str, history: bool) -> None:
        self._bring()
        reserved = self.reserve if history else 0
        if credits.shortage(self.state, self.limits, reserved):
            self.state = rules.dequeue(self.state, name)
            self.sleepers.pop(name, None)
            return
        live = not history
        due = rules.turn(self.state, self.limit, self.now, name, live)
        assert due >= self.now
        if due > self.now:
            self.state = rules.enqueue(self.state, self.limit, self.now, name, due, live)
            self.sleepers[name] = (min(due, self.now + POLL), history)
            self._wait_is_bounded(due, name)
            return
        assert self.flowed >= self.paused_until
        before = [ticket.name for ticket in self.state.waiting[: rules.count_ahead(self.state, name, live)]]
        # Only callers whose own turn has come, and who have not looked yet, are overtaken.
        assert all(rules.turn(self.state, self.limit, self.now, other) == self.now for other in before)
        assert len(self.state.granted) + len(before) < self.limit
        self.state = rules.grant(self.state, self.now, name, 1, live)
        self.sleepers.pop(name, None)
        self.grants.append(self.flowed)
        self.under_way.append(self.now)
        self.spent[self.state.month] += 1
        if history:
            self.history_left.append(self.cap - self.state.credits_used)

    def _wait_is_bounded(self, due: int, name: str) -> None:
        """A window for each `limit` places ahead, after the longest pause there can be."""
        windows = rules.count_ahead(self.state, name) // self.limit + 1
        spacing = SECOND // 10 * (rules.count_ahead(self.state, name) + 1)
        assert due - self.now <= LONGEST_COOL_DOWN + windows * WINDOW + spacing

    @rule(history=st.booleans())
    def a_caller_comes(self, history: bool) -> None:
        self._look(next(self.names), history)

    @precondition(lambda self: self.sleepers)
    @rule(late=st.integers(0, 2 * SECOND))
    def the_next_sleeper_wakes(self, late: int) -> None:
        """The one with the shortest sleep, on time or late."""
        name = min(self.sleepers, key=lambda sleeper: self.sleepers[sleeper][0])
        polls_at, history = self.sleepers[name]
        self._pass(max(0, polls_at - self.now) + late)
        self._look(name, history)

    @precondition(lambda self: self.sleepers)
    @rule(data=st.data())
    def a_sleeper_is_killed(self, data: st.DataObject) -> None:
        self.sleepers.pop(data.draw(st.sampled_from(sorted(self.sleepers))))

    @precondition(lambda self: self.sleepers)
    @rule(data=st.data())
    def a_sleeper_gives_up(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.sleepers)))
        self.sleepers.pop(name)
        self.state = rules.dequeue(self.state, name)

    @rule(duration=st.one_of(
        st.integers(0, 90 * SECOND), st.sampled_from([WINDOW - SECOND // 2, WINDOW - 1, WINDOW, POLL + GRACE])
    ))
    def time_passes(self, duration: int) -> None:
        self._pass(duration)

    @rule(step=st.one_of(
        st.integers(-40 * 24 * HOUR, 40 * 24 * HOUR), st.integers(-70 * SECOND, 70 * SECOND)
    ))
    def the_clock_is_stepped(self, step: int) -> None:
        self.now += step
        self.flowed += max(0, step)

    @precondition(lambda self: self.under_way)
    @rule(charged=st.booleans(), pause=st.one_of(st.none(), st.integers(1, 2 * LONGEST_COOL_DOWN)))
    def a_request_ends(self, charged: bool, pause: int | None) -> None:
        granted_at = self.under_way.pop(0)
        self._bring()
        self.state = rules.end(self.state, granted_at, self.now)
        if not charged:
            self.spent[month_of(granted_at)] -= 1
            if month_of(granted_at) == self.state.month:
                self.state = rules.release(self.state, 1)
        if pause:
            pause = min(pause, LONGEST_COOL_DOWN)
            self.state = rules.cool_down(self.state, self.now + pause, "requested")
            self.paused_until = max(self.paused_until, self.flowed + pause)

    @invariant()
    def no_window_holds_more_than_the_limit(self) -> None:
        limit = self.limit
        assert len(rules.advance(self.state, self.now).granted) <= limit
        for first, later in zip(self.grants, self.grants[limit:], strict=False):
            assert later - first >= WINDOW

    @invariant()
    def credits_stay_below_the_cap_and_history_leaves_the_reserve(self) -> None:
        assert all(0 <= spent <= self.cap for spent in self.spent.values())
        assert self.state.credits_used == self.spent[self.state.month]
        assert all(left >= self.reserve for left in self.history_left)

    @invariant()
    def the_queue_holds_no_caller_twice(self) -> None:
        names = [ticket.name for ticket in self.state.waiting]
        assert len(names) == len(set(names))

    @invariant()
    def live_callers_wait_behind_live_ones_and_history_that_was_overtaken_often(self) -> None:
        order = [(ticket.live, ticket.overtaken) for ticket in self.state.waiting]
        for before, after in itertools.combinations(order, 2):
            assert before[0] or not after[0] or before[1] == MOST_OVERTAKES
        assert all(overtaken <= MOST_OVERTAKES for _, overtaken in order)


TestCallers = pytest.mark.slow(Callers.TestCase)
TestCallers.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)


@given(
    limit=st.integers(1, 12),
    starts=st.lists(st.integers(0, 40 * SECOND), min_size=1, max_size=30),
    pause_at=st.integers(0, 100 * SECOND),
    pause=st.integers(0, 50 * SECOND),
)
@settings(deadline=None)
def test_punctual_callers_are_served_in_the_order_in_which_they_came(
    limit: int, starts: list[int], pause_at: int, pause: int
) -> None:
    """Each looks exactly when it should; a pause meanwhile changes nothing in the order."""
    state = State()
    served: list[str] = []
    # Numbered as they come, and of two who look at the same moment the first comes first.
    events = [(START + start, number, f"caller {number}") for number, start in enumerate(sorted(starts))]
    order = [name for _, _, name in events]
    paused = False
    while events:
        now, number, name = events.pop(0)
        state = rules.advance(state, now)
        if not paused and now >= START + pause_at:
            paused = True
            state = rules.cool_down(state, now + pause, "requested")
        due = rules.turn(state, limit, now, name)
        if due <= now:
            assert now >= state.cool_down_until
            state = rules.grant(state, now, name, 0)
            served.append(name)
        else:
            state = rules.enqueue(state, limit, now, name, due)
            events = sorted([*events, (min(due, now + POLL), number, name)])
    assert served == order


def queue_of(state: State, limit: int, *names: str) -> State:
    for name in names:
        state = rules.enqueue(state, limit, START, name, rules.turn(state, limit, START, name))
    return state


def test_a_live_request_goes_before_waiting_history() -> None:
    full = State(granted=(START,))
    state = queue_of(full, 1, "old", "older")
    due = rules.turn(state, 1, START, "tick", live=True)
    assert due == START + WINDOW
    state = rules.enqueue(state, 1, START, "tick", due, live=True)
    assert [ticket.name for ticket in state.waiting] == ["tick", "old", "older"]
    assert rules.turn(state, 1, START, "old") == START + 2 * WINDOW
    assert rules.count_ahead(state, "second tick", live=True) == 1


def test_live_requests_without_end_leave_history_its_turns() -> None:
    """One comes every 5 seconds, where one a minute can be sent."""
    state, served = queue_of(State(granted=(START,)), 1, "first", "second"), []
    for number in range(1, 9 * 65 // 5 + 1):
        now = START + number * 5 * SECOND
        state = rules.advance(state, now)
        for ticket in (*state.waiting, Ticket(f"tick {number}", now, now, live=True)):
            due = rules.turn(state, 1, now, ticket.name, ticket.live)
            if due <= now:
                state = rules.grant(state, now, ticket.name, 0, ticket.live)
                served.append(ticket.name)
            else:
                state = rules.enqueue(state, 1, now, ticket.name, due, ticket.live)
    assert served == [*(f"tick {n}" for n in range(1, 6)), "first", "second", "tick 6", "tick 7"]


def test_a_live_request_that_need_not_wait_passes_history_too() -> None:
    state = queue_of(State(cool_down_until=START + SECOND), 5, "history")
    for number in range(MOST_OVERTAKES):
        now = START + SECOND + number * SECOND // 10
        state = rules.grant(rules.advance(state, now), now, f"tick {number}", 0, live=True)
    assert rules.count_ahead(state, "one more", live=True) == 1


def test_a_burst_is_paced_and_then_waits_for_the_window() -> None:
    state, turns = State(), []
    now = START
    for number in range(5):
        now = rules.turn(state, 3, now, f"caller {number}")
        state = rules.grant(rules.advance(state, now), now, f"caller {number}", 0)
        turns.append((now - START) / SECOND)
    assert turns == [0, 0.1, 0.2, 61, 61.1]


def test_the_place_of_a_killed_caller_is_given_up_after_the_grace() -> None:
    state = queue_of(State(cool_down_until=START + 20 * SECOND), 5, "killed", "alive")
    state = rules.enqueue(state, 5, START + POLL, "alive", START + 20 * SECOND)
    before = rules.advance(state, START + POLL + GRACE)
    assert rules.count_ahead(before, "alive") == 1
    assert rules.count_ahead(rules.advance(state, START + POLL + GRACE + 1), "alive") == 0


def test_a_late_caller_may_be_overtaken_and_keeps_its_place_in_the_window() -> None:
    """Two places are free; the second in the queue takes one, and a third does not get the other."""
    pause = START + SECOND
    state = queue_of(State(cool_down_until=pause), 2, "late", "second", "third")
    now = pause + 2 * SECOND
    state = rules.advance(state, now)
    assert rules.turn(state, 2, now, "second") == now
    state = rules.grant(state, now, "second", 0)
    assert rules.turn(state, 2, now, "third") > now + 50 * SECOND
    assert rules.turn(state, 2, now + SECOND, "late") == now + SECOND


def test_whoever_is_overtaken_is_not_moved_back() -> None:
    """Else a caller that is always a little late, on a busy machine, would never be served."""
    pause = START + SECOND
    state = queue_of(State(cool_down_until=pause), 5, "late", "second", "third")
    for number, name in enumerate(("second", "third"), 1):
        now = pause + number * SECOND
        state = rules.grant(rules.advance(state, now), now, name, 0)
        assert rules.turn(state, 5, now, "late") == now


def test_killed_callers_do_not_slow_the_pace_of_the_others() -> None:
    state = queue_of(State(granted=(START,)), 60, *(f"killed {n}" for n in range(20)))
    now = START + 4 * SECOND
    for number in range(10):
        state = rules.advance(state, now)
        now = rules.turn(state, 60, now, f"caller {number}")
        state = rules.grant(rules.advance(state, now), now, f"caller {number}", 0)
    assert now == START + 4_900_000
    assert len(state.waiting) == 20


def test_a_request_that_took_long_is_counted_from_its_end() -> None:
    """It may have reached the server at any time until then."""
    state = rules.grant(State(), START, "a", 0)
    ended = START + 30 * SECOND
    assert rules.end(state, START, ended).granted == (ended - MARGIN,)
    assert rules.end(state, START, START + MARGIN) == state
    assert rules.end(State(), START, ended) == State()


def test_the_longer_of_two_pauses_holds() -> None:
    state = rules.cool_down(State(), START + 60 * SECOND, "first")
    assert rules.cool_down(state, START + 30 * SECOND, "second") == state
    assert rules.cool_down(state, START + 90 * SECOND, "third").cool_down_reason == "third"


def test_a_clock_stepped_back_makes_nobody_wait_longer_than_a_window() -> None:
    state = rules.grant(State(), START, "a", 0)
    state = queue_of(state, 1, "b")
    earlier = START - 24 * HOUR
    state = rules.advance(state, earlier)
    assert rules.turn(state, 1, earlier, "b") == earlier + WINDOW
    assert state.waiting[0].polls_at == earlier + POLL


@pytest.mark.parametrize(
    ("used", "reserved", "left"), [(9_999, 0, None), (10_000, 0, 0), (12_000, 0, 0), (7_000, 3_000, 3_000),
                                   (6_999, 3_000, None)],
)
def test_history_leaves_the_reserve_to_the_last_credit(used: int, reserved: int, left: int | None) -> None:
    state = State(month=date(2026, 12, 1), credits_used=used)
    short = credits.shortage(state, Limits(30, 10_000), reserved)
    assert (short.left if short else None) == left
    if short:
        assert f"{short.renews_at:%Y-%m-%dT%H:%M}" == "2027-01-01T00:00"
    assert credits.shortage(state, Limits(5, None), reserved) is None


@given(st.dates(date(1970, 1, 1), date(2200, 1, 1)))
def test_the_next_month_begins_a_month(day: date) -> None:
    following = next_month(day)
    assert following.day == 1 and following > day
    assert 1 <= (following - day.replace(day=1)).days <= 31
