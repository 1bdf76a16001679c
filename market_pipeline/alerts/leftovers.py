"""Hold back the errors of Dagster's daemons while they may be left over from a cause that is gone."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from market_pipeline.pipeline.conditions import Condition, Kind
from market_pipeline.storage.queries.alert_state import OpenEpisode

_KIND: Kind = "daemon-errors"
# A daemon reports an error for five minutes after it occurred, and busy ones report late.
REPEATED_AFTER = timedelta(minutes=8)
# Three looks. Errors that were not seen for longer, as while the storage was down, begin anew.
_UNSEEN = timedelta(seconds=90)


class DaemonErrors:
    """Remembers since when daemons report errors without a break."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._seen_at: datetime | None = None

    def repeated(self, found: Iterable[Condition], before: Iterable[OpenEpisode], now: datetime) -> list[Condition]:
        """Return `found` without daemon errors that may be left over, unless an episode in `before` has them."""
        every = list(found)
        if all(condition.kind != _KIND for condition in every):
            return every
        if self._since is None or self._seen_at is None or not timedelta() <= now - self._seen_at <= _UNSEEN:
            self._since = now
        self._seen_at = now
        if now - self._since >= REPEATED_AFTER or any(episode.kind == _KIND for episode in before):
            return every
        return [condition for condition in every if condition.kind != _KIND]
