"""Alerts: whether a watcher runs, and whether the receivers accept messages."""

from collections.abc import Iterator
from datetime import timedelta

from market_pipeline.core.program import command
from market_pipeline.core.wording import counted, span
from market_pipeline.doctor.context import Diagnosis, DoctorContext, ok, warn
from market_pipeline.storage.queries.alert_outbox import receiver_states
from market_pipeline.storage.queries.alert_state import read_watch

_SILENT_AFTER = timedelta(minutes=3)


def examine_alerts(context: DoctorContext) -> Iterator[Diagnosis]:
    """Judge the watcher by its last look, and each receiver by its last answer; nothing without ALERT_URLS."""
    receivers = len(context.settings.alert_receivers)
    if not receivers:
        return
    watch, now = read_watch(context.database), context.clock()
    if watch is None or now - watch.looked_at > _SILENT_AFTER:
        last = "no watcher has run yet" if watch is None else f"the last look was {span(now - watch.looked_at)} ago"
        start = " or ".join(dict.fromkeys(f"`{command(line)}`" for line in ("run", "watch")))
        yield warn("alerts", f"{last}: no alerts are sent", f"Start {start}, and leave it running.")
        return
    failing = [state for state in receiver_states(context.database) if state.failures]
    for state in failing:
        waiting = counted(state.pending, "message is waiting", "messages are waiting")
        detail = f"{state.receiver} did not accept the last {counted(state.failures, 'attempt')}; {waiting}"
        detail += f": {state.last_error}" if state.last_error else ""
        remedy = f"Correct its URL in ALERT_URLS, or wait until it answers; `{command('alert-test')}` tries it."
        yield warn("alerts", detail, remedy, failures=state.failures, pending=state.pending)
    if not failing:
        yield ok("alerts", f"watched, the last look was {span(now - watch.looked_at)} ago; receivers: {receivers}")
