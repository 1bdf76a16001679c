"""The alarm that cannot go through the outbox: the database itself cannot be used.

It is remembered in this process only, so a second watcher may tell it as well, and a restart tells it again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from market_pipeline.alerts.receivers import Receiver
from market_pipeline.alerts.texts import Place, recovery_text, shown, trouble_text
from market_pipeline.core.clock import is_due
from market_pipeline.logs import get_logger
from market_pipeline.logs.redaction import masker
from market_pipeline.storage.queries.alert_outbox import AlertMessage, Transition

logger = get_logger(__name__)

# A restart of the server, or another writer that holds the lock for a while, is over by then.
_TOLD_AFTER = timedelta(minutes=1)
_AGAIN_AFTER = timedelta(minutes=1)
_TITLE = "The database cannot be used: nothing is stored, and alerts cannot be recorded"


class DirectAlarm:
    """Tells `receivers` once that the database cannot be used, and once that it can be again."""

    def __init__(self, receivers: Sequence[Receiver], place: Place) -> None:
        self._receivers = receivers
        self._place = place
        self._began: datetime | None = None
        self._told: set[str] = set()
        self._tried_at: datetime | None = None

    def trouble(self, error: str, now: datetime) -> None:
        """Tell those who do not know yet; `error` is what the database, or its driver, says."""
        if self._began is None or self._began > now:
            self._began = now
        if now - self._began < _TOLD_AFTER:
            return
        if self._tried_at and not is_due(self._tried_at + _AGAIN_AFTER, now, _AGAIN_AFTER):
            return
        self._tried_at = now
        remedy = "`market-pipeline doctor` examines the database and its disk."
        body = trouble_text(masker().text(error), self._began, remedy, now, self._place)
        self._told |= self._send("opened", body, [one for one in self._receivers if one.name not in self._told])

    def over(self, now: datetime) -> None:
        """Tell those who know of the trouble that it is over."""
        if self._began is None:
            return
        if self._told:
            body = recovery_text(self._began, now, self._place)
            self._send("recovered", body, [one for one in self._receivers if one.name in self._told])
        self._began, self._tried_at, self._told = None, None, set()

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
