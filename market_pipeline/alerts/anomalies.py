"""Anomalies into the outbox, from the run that finds them.

So an alarm is told once, when live quotes reveal it or make it more severe: a day that is filled in or scored again
later raises nothing, and no alarm is missed while nobody watches.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from market_pipeline.alerts.texts import Place, anomaly_message
from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.alert_outbox import LEVELS, Level, add_messages, levels_told
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
        told = levels_told(connection, [message.episode for message in messages])
        new = [message for message in messages if message.episode not in told]
        new += [
            replace(message, transition="raised") for message in messages
            if message.level == "critical" and told.get(message.episode, "critical") != "critical"
        ]
        return add_messages(connection, new, now)
