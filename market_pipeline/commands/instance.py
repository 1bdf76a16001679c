"""The first start of a Dagster instance in a new home."""

from pathlib import Path


def create_instance(home: Path) -> None:
    """Create Dagster's storage in `home` unless it is there already.

    Run retries follow the event log from a stored position. A new instance has none, and the daemon
    would warn twice that it ignores older events; the position of an empty log is 0.
    """
    if (home / "history").exists():
        return
    from dagster import DagsterEventType, DagsterInstance

    events = (DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS)
    with DagsterInstance.from_config(str(home)) as instance:
        # The name that the daemon gives it; a test starts the daemon and looks for the warning.
        positions = {f"EVENT_LOG_CONSUMER_CURSOR-{event.value}": "0" for event in events}
        instance.daemon_cursor_storage.set_cursor_values(positions)
