"""When a request may be sent: pure functions from one state of the budget to the next.

Times are microseconds since 1970 UTC by the database's clock. The lock on the budget's row makes every state
follow from the one before it. Then:

- no `WINDOW` of that clock holds more than `limit` grants. A step back of the clock only lengthens waits; a
  step forward counts as time that has passed;
- no request is granted before `cool_down_until`;
- turns follow the order of the queue, in which live requests go before those for history, and every waiting
  caller has a place in the window. One that is late for its turn may be overtaken, but never loses its place.
  At most `MOST_OVERTAKES` live requests overtake one for history, so that history is never starved;
- a caller that was killed holds its place until it should have polled again, plus `GRACE`.
"""

from dataclasses import dataclass, replace
from datetime import date

SECOND = 1_000_000

# A second more than a minute: requests arrive later than they were granted, with different delays. Those
# that take longer than this second count from their end (see `end`).
MARGIN = SECOND
WINDOW = 60 * SECOND + MARGIN
# The longest sleep of a waiting caller before it polls again, and how late it may be.
POLL = 5 * SECOND
GRACE = 5 * SECOND
# About a minute's worth of the smallest plan.
MOST_OVERTAKES = 5
# Bounds the pause that a step back of the clock would otherwise prolong.
LONGEST_COOL_DOWN = 3_600 * SECOND


@dataclass(frozen=True)
class Ticket:
    """A place in the queue, given up if its owner has not polled by `polls_at` plus `GRACE`.

    `paced` is the earliest time that the pace of grants allows, fixed when the caller queued, so that no
    caller that overtakes it can move it back. `overtaken` counts the live requests that went before it.
    """

    name: str
    polls_at: int
    paced: int
    live: bool = False
    overtaken: int = 0


@dataclass(frozen=True)
class State:
    """One budget: `granted` oldest first, `waiting` in order, and the credits used in `month`."""

    granted: tuple[int, ...] = ()
    waiting: tuple[Ticket, ...] = ()
    cool_down_until: int = 0
    cool_down_reason: str = ""
    month: date = date(1970, 1, 1)
    credits_used: int = 0


def advance(state: State, now: int) -> State:
    """Remove what is over at `now`; times that a step back left in the future count as now."""
    return replace(
        state,
        granted=tuple(min(granted, now) for granted in state.granted if granted > now - WINDOW),
        waiting=tuple(
            replace(ticket, polls_at=min(ticket.polls_at, now + POLL), paced=min(ticket.paced, now + POLL))
            for ticket in state.waiting
            if ticket.polls_at >= now - GRACE
        ),
        cool_down_until=min(state.cool_down_until, now + LONGEST_COOL_DOWN),
    )


def count_ahead(state: State, name: str, live: bool = False) -> int:
    """Count the callers ahead of the one with this ticket, or of a new one."""
    names = [ticket.name for ticket in state.waiting]
    if name in names:
        return names.index(name)
    if not live:
        return len(names)
    firm = [place for place, ticket in enumerate(state.waiting, 1) if ticket.live or ticket.overtaken >= MOST_OVERTAKES]
    return max(firm, default=0)


def turn(state: State, limit: int, now: int, name: str, live: bool = False) -> int:
    """Return when the caller with this ticket, or a new one, may send its request; `now` if it is due.

    `state` must have been advanced to `now`.
    """
    place = count_ahead(state, name, live)
    own = _ticket_at(state, name, place) or Ticket(name, now, _pace(state, limit, now, place))
    granted = list(state.granted)
    due = granted[-1] if granted else 0
    for ticket in (*state.waiting[:place], own):
        free = granted[-limit] + WINDOW if len(granted) >= limit else 0
        due = max(ticket.paced, due, free, state.cool_down_until)
        # An overdue turn is still granted no earlier than now.
        granted.append(max(due, now))
        # A caller that is late to poll, perhaps dead, does not delay the pace of the others.
        due += _spacing(limit) if ticket.polls_at >= now else 0
    return granted[-1]


def grant(state: State, now: int, name: str, credits: int, live: bool = False) -> State:
    """Grant the caller a request and reserve its `credits`."""
    place = count_ahead(state, name, live)
    behind = state.waiting[place:] if _ticket_at(state, name, place) else _overtake(state.waiting[place:], live)
    return replace(
        dequeue(replace(state, waiting=(*state.waiting[:place], *behind)), name),
        granted=(*state.granted, now),
        credits_used=state.credits_used + credits,
    )


def release(state: State, credits: int) -> State:
    """Release the credits of a request that was granted in the state's month and not charged."""
    return replace(state, credits_used=max(0, state.credits_used - credits))


def enqueue(state: State, limit: int, now: int, name: str, due: int, live: bool = False) -> State:
    """Put the caller, whose turn is `due`, at its place in the queue, or leave it where it is."""
    place = count_ahead(state, name, live)
    polls_at = min(due, now + POLL)
    if ticket := _ticket_at(state, name, place):
        own, behind = replace(ticket, polls_at=polls_at), state.waiting[place + 1:]
    else:
        own = Ticket(name, polls_at, _pace(state, limit, now, place), live)
        behind = _overtake(state.waiting[place:], live)
    return replace(state, waiting=(*state.waiting[:place], own, *behind))


def dequeue(state: State, name: str) -> State:
    """Remove the caller from the queue."""
    return replace(state, waiting=tuple(ticket for ticket in state.waiting if ticket.name != name))


def end(state: State, granted_at: int, now: int) -> State:
    """Record that the request granted at `granted_at` ended at `now`.

    A long one may have reached the server at any time until now, so its place in the window starts now.
    """
    arrived = now - MARGIN
    if granted_at >= arrived or granted_at not in state.granted:
        return state
    others = list(state.granted)
    others.remove(granted_at)
    return replace(state, granted=tuple(sorted([*others, arrived])))


def cool_down(state: State, until: int, reason: str) -> State:
    """Grant nothing before `until`, or before the later time of an earlier pause."""
    if until <= state.cool_down_until:
        return state
    return replace(state, cool_down_until=until, cool_down_reason=reason)


def _ticket_at(state: State, name: str, place: int) -> Ticket | None:
    """Return the caller's ticket, if it has one at its `place`."""
    return next((ticket for ticket in state.waiting[place:place + 1] if ticket.name == name), None)


def _overtake(tickets: tuple[Ticket, ...], live: bool) -> tuple[Ticket, ...]:
    """Count one more overtaking in each of `tickets` if the caller is `live`."""
    return tuple(replace(ticket, overtaken=ticket.overtaken + live) for ticket in tickets)


def _pace(state: State, limit: int, now: int, place: int) -> int:
    """Return the earliest time for a new caller after the last grant and the ticket before `place`."""
    last = [*state.granted[-1:], *(ticket.paced for ticket in state.waiting[:place][-1:])]
    return max([now, *(moment + _spacing(limit) for moment in last)])


def _spacing(limit: int) -> int:
    """Return the least time between grants: a tenth of the limit's pace, at most 0.1 s.

    It makes grants follow the queue, not the race for the lock.
    """
    return min(SECOND // 10, 6 * SECOND // limit)
