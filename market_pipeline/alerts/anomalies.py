"""Anomalies into the outbox, from the run that finds them.

An alarm is sent once, when live quotes reveal it, and again if they make it critical. A day that is filled in or scored
again later raises nothing, and no alarm is lost while no watcher runs.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from market_pipeline.alerts.texts import Place, anomaly_message
from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.alert_outbox import LEVELS, Level, add_messages, highest_levels
from market_pipeline.storage.schema.alert_tables import alert_messages


def raise_anomalies(
    database: Database, alarms: Iterable[Anomaly], least: Level, place: Place, now: datetime
) -> int:
    """Store a message for each new alarm of severity `least` or above, and return how many.

    An episode has one message, and another one if it becomes critical. Writes nothing if there is no such alarm.
    """
    rank = LEVELS.index
    messages = [anomaly_message(alarm, place) for alarm in alarms]
    messages = [message for message in messages if rank(message.level) >= rank(least)]
    if not messages:
        return 0
    with database.writing(alert_messages) as connection:
        sent = highest_levels(connection, [message.episode for message in messages])
        new = [message for message in messages if message.episode not in sent]
        new += [
            replace(message, transition="raised") for message in messages
            if message.level == "critical" and sent.get(message.episode, "critical") != "critical"
        ]
        return add_messages(connection, new, now)
