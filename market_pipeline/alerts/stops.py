"""The message that `market-pipeline run` has ended by itself, and the one that it runs again."""

from datetime import datetime

from sqlalchemy import select

from market_pipeline.alerts.texts import Place, recovery_text, trouble_text
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.alert_outbox import AlertMessage, add_messages
from market_pipeline.storage.schema.alert_tables import alert_messages

_KIND = "pipeline-stopped"
_TITLE = "market-pipeline run has ended by itself: no prices are collected"


def tell_stopped(database: Database, code: int, now: datetime, place: Place) -> None:
    """Store the message that a process of `run` ended with this exit code, which ends all of them."""
    detail = f"One of its processes ended by itself (exit code {code}); its log says why."
    body = trouble_text(detail, now, "Start it again, unless a supervisor does.", now, place)
    message = AlertMessage(f"{_KIND}@{now:%Y%m%dT%H%M%S}", "opened", _KIND, "critical", _TITLE, body)
    with database.writing(alert_messages) as connection:
        add_messages(connection, [message], now)


def tell_started(database: Database, now: datetime, place: Place) -> None:
    """Store the message that it runs again, if the last message about it says that it has ended."""
    columns = alert_messages.c
    last = select(columns.episode, columns.transition, columns.created_at).where(columns.kind == _KIND)
    with database.writing(alert_messages) as connection:
        found = connection.execute(last.order_by(columns.id.desc()).limit(1)).one_or_none()
        if found is not None and found.transition == "opened":
            body = recovery_text(found.created_at, now, place)
            add_messages(
                connection, [AlertMessage(found.episode, "recovered", _KIND, "critical", _TITLE, body)], now
            )
