"""Watch the installation from outside of Dagster, and send alerts."""

import signal
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from market_pipeline.alerts.watcher import Failures, Watcher
from market_pipeline.commands.alerts import place_of, required_receivers
from market_pipeline.commands.start import command_settings, database_of
from market_pipeline.core.clock import is_due, utc_now
from market_pipeline.core.daily_hours import parse_daily_hours
from market_pipeline.dagster_instance.connection import DagsterHome, DagsterUnavailable, installation_state
from market_pipeline.dagster_instance.failures_since import failed_evaluations, failed_runs, storage_id
from market_pipeline.dagster_instance.home import ready_home
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.logs import get_logger
from market_pipeline.settings import Settings
from market_pipeline.storage.schema.migrate import check_schema

logger = get_logger(__name__)

_ROUND_SECONDS = 5.0
_HEARTBEAT_EVERY = timedelta(minutes=1)
_HEARTBEAT_SECONDS = 10.0
# Dagster's storage may be slow while nothing is wrong.
_READ_SECONDS = 30.0


def execute() -> int:
    """Watch until Ctrl-C or SIGTERM."""
    settings = command_settings()
    receivers = required_receivers(settings)
    database = database_of(settings)
    check_schema(database)
    storage = storage_of(settings)
    dagster = DagsterHome(ready_home(storage), storage, read_seconds=_READ_SECONDS)
    started = utc_now()
    watcher = Watcher(
        database, receivers, place_of(settings),
        lambda: installation_state(settings, database, dagster, started, utc_now()), _failures_of(dagster, settings),
        quiet=parse_daily_hours(settings.alert_quiet_hours) if settings.alert_quiet_hours else None,
    )
    logger.info("Watching; alerts go to %s", ", ".join(receiver.name for receiver in receivers))
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        _watch(watcher, Heartbeat(settings), stopping)
    finally:
        watcher.close()
        dagster.close()
        database.dispose()
    return 0


def watch_command() -> list[str]:
    """Return the command of a watcher that another command starts."""
    return [sys.executable, "-m", "market_pipeline.commands.main", "watch"]


class Heartbeat:
    """Requests ALERT_HEARTBEAT_URL once a minute while all is watched: its service alarms if that stops."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.alert_heartbeat_url
        self._url = secret.get_secret_value() if secret else ""
        self._sent_at: datetime | None = None

    def send(self, now: datetime) -> None:
        """Request the URL if it is time; a failure is logged without it."""
        last = self._sent_at
        if not self._url or (last and not is_due(last + _HEARTBEAT_EVERY, now, _HEARTBEAT_EVERY)):
            return
        import requests

        self._sent_at = now
        try:
            answer = requests.get(self._url, timeout=_HEARTBEAT_SECONDS, allow_redirects=False)
            if not answer.ok:
                logger.warning("The heartbeat was answered with status %s", answer.status_code)
        except requests.RequestException as error:
            logger.warning("The heartbeat was not sent: %s", type(error).__name__)


def _watch(watcher: Watcher, heartbeat: Heartbeat, stopping: threading.Event) -> None:
    while not stopping.is_set():
        try:
            if watcher.round():
                heartbeat.send(utc_now())
        # The next round must run after any error; the missing heartbeat reports it.
        except Exception:
            logger.exception("A round of the watch failed")
        stopping.wait(_ROUND_SECONDS)


def _failures_of(
    dagster: DagsterHome, settings: Settings
) -> Callable[[Callable[[str], int | None]], Failures]:
    owner, cron = owner_of(settings), settings.collect_cron

    def failures(position: Callable[[str], int | None]) -> Failures:
        try:
            names = [f"{what}:{dagster.read(storage_id)}" for what in ("failed runs", "failed evaluations")]
            after = [position(name) for name in names]
            runs, newest = dagster.read(lambda instance: failed_runs(instance, owner, after[0]))
            evaluations, latest = dagster.read(
                lambda instance: failed_evaluations(instance, owner, cron, after[1], utc_now())
            )
        except DagsterUnavailable as error:
            logger.warning("%s", error)
            return Failures([], {})
        return Failures([*runs, *evaluations], dict(zip(names, (newest, latest), strict=True)))

    return failures
