"""Do Dagster's daemons, which start scheduled runs, still report?"""

from collections.abc import Iterator

from market_pipeline.defs.heartbeats import heartbeats
from market_pipeline.doctor.finding import Finding, fail, not_examined, ok, warn
from market_pipeline.doctor.subject import Subject
from market_pipeline.doctor.words import first_line, span

_START = "Start with `make run`, and leave it running."


def examine_daemons(subject: Subject) -> Iterator[Finding]:
    """One finding about all of them: the oldest heartbeat counts."""
    if subject.instance is None:
        yield not_examined("daemons", subject.without_instance)
        return
    now = subject.clock()
    beats = heartbeats(subject.instance, now)
    ages = {beat.daemon: max(0.0, (now - beat.at).total_seconds()) for beat in beats if beat.at}
    if not ages:
        yield warn("daemons", "none has ever reported here", _START)
        return
    numbers = {f"heartbeat_age_{name.lower()}": round(age) for name, age in ages.items()}
    errors = [f"{beat.daemon}: {first_line(beat.error)}" for beat in beats if beat.error]
    silent = [beat.daemon for beat in beats if not beat.alive]
    if errors:
        remedy = "Read the daemon's output for the rest."
        yield fail("daemons", f"errors reported by {'; '.join(errors)}", remedy, **numbers)
    elif silent:
        last = [f"{name} {span(ages[name])} ago" if name in ages else f"{name} never" for name in silent]
        yield fail("daemons", f"nothing is scheduled; last reports: {', '.join(last)}", _START, **numbers)
    else:
        oldest = span(max(ages.values()))
        yield ok("daemons", f"{len(ages)} report, the oldest heartbeat {oldest} ago", **numbers)
