"""Who may send a request, and when: pure functions from one state of the budget to the next.

Times are microseconds since 1970 UTC by the database's clock. The rules hold as long as every state is
made from the one before it, which the lock on the budget's row sees to:

- no `WINDOW` of that clock holds more than `limit` grants. A step back of the clock only lengthens
  waits; after a step forward the clock itself says that the time has passed;
- nobody is granted anything before `cool_down_until`;
- turns are given in the order in which callers queued, live ones before those for history, and each has its
  place in the window reserved while it waits. A caller that is late for its own turn may be overtaken, never
  displaced. A history request is passed by `MOST_OVERTAKES` live ones at most, so that any number of these
  leaves history its turns;
- a caller that was killed holds its place no longer than until it should have looked again.
"""

from dataclasses import dataclass, replace
from datetime import date

SECOND = 1_000_000

# A second more than a minute: requests arrive later than they were granted, and not all by the same
# amount. Those that take longer than this second are counted from when they ended (see `ended`).
MARGIN = SECOND
WINDOW = 60 * SECOND + MARGIN
# How long a waiting caller sleeps at most before it looks again, and how much later it may come.
LOOK = 5 * SECOND
GRACE = 5 * SECOND
# How many live requests pass one for history at most: about a minute's worth of the smallest plan.
MOST_OVERTAKES = 5
# A clock that was stepped back would otherwise turn a pause into an endless one.
LONGEST_COOL_DOWN = 3_600 * SECOND


@dataclass(frozen=True)
class Ticket:
    """A place in the queue, given up if its owner has not looked again by `looks_at` and some seconds.

    `paced` is the earliest time that the pace of grants leaves to it, fixed when it queued, so that
    no caller that overtakes it can move it back. `overtaken` counts the live requests that went before it.
    """

    name: str
    looks_at: int
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


def brought_to(state: State, now: int) -> State:
    """`state` without what is over at `now`; times that a step back left in the future count as now."""
    return replace(
        state,
        granted=tuple(min(granted, now) for granted in state.granted if granted > now - WINDOW),
        waiting=tuple(
            replace(ticket, looks_at=min(ticket.looks_at, now + LOOK), paced=min(ticket.paced, now + LOOK))
            for ticket in state.waiting
            if ticket.looks_at >= now - GRACE
        ),
        cool_down_until=min(state.cool_down_until, now + LONGEST_COOL_DOWN),
    )


def ahead(state: State, name: str, live: bool = False) -> int:
    """Count those that wait before the caller with this ticket, or before a new caller."""
    names = [ticket.name for ticket in state.waiting]
    if name in names:
        return names.index(name)
    if not live:
        return len(names)
    firm = [place for place, ticket in enumerate(state.waiting, 1) if ticket.live or ticket.overtaken >= MOST_OVERTAKES]
    return max(firm, default=0)


def turn(state: State, limit: int, now: int, name: str, live: bool = False) -> int:
    """When the caller with this ticket, or one who comes now, may send its request; `now` if at once.

    `state` must have been brought to `now`.
    """
    place = ahead(state, name, live)
    here = _known(state, name, place) or Ticket(name, now, _pace(state, limit, now, place))
    taken = list(state.granted)
    due = taken[-1] if taken else 0
    for ticket in (*state.waiting[:place], here):
        free = taken[-limit] + WINDOW if len(taken) >= limit else 0
        due = max(ticket.paced, due, free, state.cool_down_until)
        # Nobody can be granted a request before now, however long its turn has been due.
        taken.append(max(due, now))
        # Whoever is late to look, perhaps for ever, does not hold up the pace of the others.
        due += _spacing(limit) if ticket.looks_at >= now else 0
    return taken[-1]


def granted(state: State, now: int, name: str, credits: int, live: bool = False) -> State:
    """`state` after the caller was granted a request, with its `credits` reserved."""
    place = ahead(state, name, live)
    behind = state.waiting[place:] if _known(state, name, place) else _overtaken(state.waiting[place:], live)
    return replace(
        left(replace(state, waiting=(*state.waiting[:place], *behind)), name),
        granted=(*state.granted, now),
        credits_used=state.credits_used + credits,
    )


def released(state: State, credits: int) -> State:
    """`state` with the credits of a request given back that was granted in its month and not charged."""
    return replace(state, credits_used=max(0, state.credits_used - credits))


def queued(state: State, limit: int, now: int, name: str, due: int, live: bool = False) -> State:
    """`state` with the caller, whose turn is `due`, at its place in the queue or where it was already."""
    place = ahead(state, name, live)
    looks_at = min(due, now + LOOK)
    if known := _known(state, name, place):
        here, behind = replace(known, looks_at=looks_at), state.waiting[place + 1:]
    else:
        here = Ticket(name, looks_at, _pace(state, limit, now, place), live)
        behind = _overtaken(state.waiting[place:], live)
    return replace(state, waiting=(*state.waiting[:place], here, *behind))


def left(state: State, name: str) -> State:
    """`state` without the caller in its queue."""
    return replace(state, waiting=tuple(ticket for ticket in state.waiting if ticket.name != name))


def ended(state: State, granted_at: int, now: int) -> State:
    """`state` after the request granted at `granted_at` ended at `now`.

    One that took long may have reached the server at any time until now, so it keeps its place in
    the window from now on.
    """
    arrived = now - MARGIN
    if granted_at >= arrived or granted_at not in state.granted:
        return state
    others = list(state.granted)
    others.remove(granted_at)
    return replace(state, granted=tuple(sorted([*others, arrived])))


def cooled_down(state: State, until: int, reason: str) -> State:
    """`state` in which nobody may ask before `until`, or before the later time that held already."""
    if until <= state.cool_down_until:
        return state
    return replace(state, cool_down_until=until, cool_down_reason=reason)


def _known(state: State, name: str, place: int) -> Ticket | None:
    """The caller's ticket, if it has one at its `place`."""
    return next((ticket for ticket in state.waiting[place:place + 1] if ticket.name == name), None)


def _overtaken(tickets: tuple[Ticket, ...], live: bool) -> tuple[Ticket, ...]:
    """`tickets` after a caller went before them."""
    return tuple(replace(ticket, overtaken=ticket.overtaken + live) for ticket in tickets)


def _pace(state: State, limit: int, now: int, place: int) -> int:
    """The earliest time that the last grant and those before `place` leave to a new caller."""
    last = [*state.granted[-1:], *(ticket.paced for ticket in state.waiting[:place][-1:])]
    return max([now, *(moment + _spacing(limit) for moment in last)])


def _spacing(limit: int) -> int:
    """Grants follow each other at ten times the pace of the limit, at most a tenth of a second apart.

    So the order is that of the queue and not of whose attempt at the lock succeeds.
    """
    return min(SECOND // 10, 6 * SECOND // limit)
