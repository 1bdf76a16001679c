"""Do Dagster's daemons, which start scheduled runs, still report?"""

import time
from collections.abc import Iterator

from market_pipeline.doctor.finding import Finding, fail, not_examined, ok, warn
from market_pipeline.doctor.subject import Subject
from market_pipeline.doctor.words import first_line, span

_START = "Start with `make run`, and leave it running."


def examine_daemons(subject: Subject) -> Iterator[Finding]:
    """One finding about all of them: the oldest heartbeat counts."""
    if subject.instance is None:
        yield not_examined("daemons", subject.without_instance)
        return
    statuses = [status for status in subject.instance.get_daemon_statuses().values() if status.required]
    beats = {status.daemon_type: status.last_heartbeat for status in statuses if status.last_heartbeat}
    if not beats:
        yield warn("daemons", "none has ever reported here", _START)
        return
    now = time.time()
    ages = {name: max(0.0, now - beat.timestamp) for name, beat in beats.items()}
    numbers = {f"heartbeat_age_{name.lower()}": round(age) for name, age in ages.items()}
    errors = [f"{name}: {first_line(beat.errors[0].message)}" for name, beat in beats.items() if beat.errors]
    silent = [status.daemon_type for status in statuses if not status.healthy]
    if errors:
        remedy = "Read the daemon's output for the rest."
        yield fail("daemons", f"errors reported by {'; '.join(errors)}", remedy, **numbers)
    elif silent:
        last = [f"{name} {span(ages[name])} ago" if name in ages else f"{name} never" for name in silent]
        yield fail("daemons", f"nothing is scheduled; last reports: {', '.join(last)}", _START, **numbers)
    else:
        oldest = span(max(ages.values()))
        yield ok("daemons", f"{len(ages)} report, the oldest heartbeat {oldest} ago", **numbers)
