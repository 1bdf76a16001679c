"""The alert that cannot go through the outbox: the database itself cannot be used.

Its state is in memory only: a second watcher may send it as well, and a restart repeats it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from market_pipeline.alerts.receivers import Receiver
from market_pipeline.alerts.texts import Place, recovery_text, shown, trouble_text
from market_pipeline.core.clock import is_due
from market_pipeline.core.program import command
from market_pipeline.logs import get_logger
from market_pipeline.logs.redaction import masker
from market_pipeline.storage.queries.alert_outbox import AlertMessage, Transition

logger = get_logger(__name__)

# A restart of the server, or another writer that holds the lock for a while, is over by then.
_SENT_AFTER = timedelta(minutes=1)
_AGAIN_AFTER = timedelta(minutes=1)
_TITLE = "The database cannot be used: nothing is stored, and alerts cannot be recorded"


class DirectAlarm:
    """Notifies `receivers` once that the database cannot be used, and once that it can be used again."""

    def __init__(self, receivers: Sequence[Receiver], place: Place) -> None:
        self._receivers = receivers
        self._place = place
        self._began: datetime | None = None
        self._notified: set[str] = set()
        self._tried_at: datetime | None = None

    def trouble(self, error: str, now: datetime) -> None:
        """Notify the receivers that have not accepted the alert yet; `error` is that of the database or its driver."""
        if self._began is None or self._began > now:
            self._began = now
        if now - self._began < _SENT_AFTER:
            return
        if self._tried_at and not is_due(self._tried_at + _AGAIN_AFTER, now, _AGAIN_AFTER):
            return
        self._tried_at = now
        remedy = f"`{command('doctor')}` examines the database and its disk."
        body = trouble_text(masker().text(error), self._began, remedy, now, self._place)
        self._notified |= self._send("opened", body, [one for one in self._receivers if one.name not in self._notified])

    def over(self, now: datetime) -> None:
        """Notify the receivers that accepted the alert that it is over."""
        if self._began is None:
            return
        if self._notified:
            body = recovery_text(self._began, now, self._place)
            self._send("recovered", body, [one for one in self._receivers if one.name in self._notified])
        self._began, self._tried_at, self._notified = None, None, set()

    def _send(self, transition: Transition, body: str, to: Sequence[Receiver]) -> set[str]:
        episode = f"database@{self._began:%Y%m%dT%H%M%S}"
        message = AlertMessage(episode, transition, "database-unusable", "critical", _TITLE, body)
        accepted = set()
        for receiver in to:
            error = receiver.send(*shown(message, self._place), message)
            if error is None:
                accepted.add(receiver.name)
                logger.info("%s accepted: %s", receiver.name, _TITLE)
            else:
                logger.warning("%s did not accept a message: %s", receiver.name, error)
        return accepted
