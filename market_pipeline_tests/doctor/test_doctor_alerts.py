"""Whether alerts can reach anybody, according to the doctor."""

from datetime import timedelta

from market_pipeline.core.clock import utc_now
from market_pipeline.doctor.alerts import examine_alerts
from market_pipeline.doctor.report import examine
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.alert_outbox import queue_messages, record_answer
from market_pipeline.storage.queries.alert_state import take_watch
from market_pipeline_tests.doctor.examining import Installed, only


def test_alerts_need_a_watcher_and_receivers_that_answer(sqlite_database: Database, installed: Installed) -> None:
    assert examine("alerts", examine_alerts, installed(sqlite_database)) == []
    context, now = installed(sqlite_database, ALERT_URLS="json://127.0.0.1:9/"), utc_now()
    assert (found := only(examine_alerts, context)).status == "warn" and "no watcher has run" in found.detail
    take_watch(sqlite_database, "me", now, timedelta(minutes=1))
    assert (found := only(examine_alerts, context)).status == "ok" and "receivers: 1" in found.detail
    queue_messages(sqlite_database, ["json-1"], now)
    record_answer(sqlite_database, "json-1", now, "no answer", now)
    found = only(examine_alerts, context)
    assert (found.status, found.numbers["failures"]) == ("warn", 1) and "no answer" in found.detail
    context.clock = lambda: now + timedelta(minutes=9)
    assert (found := only(examine_alerts, context)).status == "warn" and "9 min ago" in found.detail
