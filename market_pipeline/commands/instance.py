"""The first start of a Dagster instance in a new home."""

from pathlib import Path

from market_pipeline.file_lock import waiting_for_lock


def create_instance(home: Path) -> None:
    """Create Dagster's storage unless it exists; concurrent callers wait for the first to finish.

    Run retries follow the event log from a stored position, which each event type needs one of. Without a
    position the daemon warns that it ignores older events; a position that exists is where it stopped.
    """
    with waiting_for_lock(home / "creating.lock"):
        # Storage in a database of its own leaves no such folder: only its tables tell.
        if not (home / "history").exists():
            _create(home)


def _create(home: Path) -> None:
    from dagster import DagsterEventType, DagsterInstance

    # The names that the daemon gives them; a test starts the daemon and looks for the warning.
    events = (DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS)
    names = {f"EVENT_LOG_CONSUMER_CURSOR-{event.value}" for event in events}
    with DagsterInstance.from_config(str(home)) as instance:
        cursors = instance.daemon_cursor_storage
        if missing := names - cursors.get_cursor_values(names).keys():
            newest = instance.event_log_storage.get_maximum_record_id() or 0
            cursors.set_cursor_values(dict.fromkeys(missing, str(newest)))
