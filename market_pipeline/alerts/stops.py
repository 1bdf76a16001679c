"""Messages that `market-pipeline run` ended by itself, and that it runs again."""

from datetime import datetime

from sqlalchemy import select

from market_pipeline.alerts.texts import Place, recovery_text, trouble_text
from market_pipeline.logs import get_logger
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.alert_outbox import AlertMessage, add_messages
from market_pipeline.storage.schema.alert_tables import alert_messages

logger = get_logger(__name__)

_KIND = "pipeline-stopped"
_TITLE = "market-pipeline run has ended by itself: no prices are collected"


def record_stopped(database: Database, what: str, now: datetime, place: Place) -> None:
    """Store the message that a process of `run` ended by itself, which ends all; `what` says which and how.

    Best effort: a database that is down may be why it ended, and the exit code must reach the supervisor.
    """
    detail = f"{what}, so everything is stopped."
    body = trouble_text(detail, now, "Start it again, unless a supervisor does.", now, place)
    message = AlertMessage(f"{_KIND}@{now:%Y%m%dT%H%M%S}", "opened", _KIND, "critical", _TITLE, body)
    try:
        with database.writing(alert_messages) as connection:
            add_messages(connection, [message], now)
    except StorageError as error:
        logger.error("No alert about this end can be sent: %s", error)


def record_started(database: Database, now: datetime, place: Place) -> None:
    """Store the message that `run` runs again, if the last message about it is that it ended."""
    columns = alert_messages.c
    last = select(columns.episode, columns.transition, columns.created_at).where(columns.kind == _KIND)
    with database.writing(alert_messages) as connection:
        found = connection.execute(last.order_by(columns.id.desc()).limit(1)).one_or_none()
        if found is not None and found.transition == "opened":
            body = recovery_text(found.created_at, now, place)
            add_messages(
                connection, [AlertMessage(found.episode, "recovered", _KIND, "critical", _TITLE, body)], now
            )
