"""Mark an anomaly, as `PUT /anomalies/{id}/mark` does."""

import click

from market_pipeline.anomalies.marks import Mark, parse_note
from market_pipeline.commands.start import command_settings, database_of
from market_pipeline.core.clock import iso, utc_now
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.anomaly_marks import delete_mark, save_mark
from market_pipeline.storage.schema.migrate import check_schema


def execute(anomaly_id: str, given: str, note: str) -> int:
    """Save the mark, or remove it if `given` is none; raise UsageError if there is no such anomaly."""
    try:
        parsed = parse_note(note)
    except ValueError as error:
        raise click.UsageError(f"the note cannot be stored: {error}") from None
    database = database_of(command_settings())
    try:
        check_schema(database)
        said = _change(database, anomaly_id, given, parsed) if anomaly_id.isalnum() else None
    finally:
        database.dispose()
    if said is None:
        raise click.UsageError(f"there is no anomaly with the id {anomaly_id!r}")
    click.echo(said)
    return 0


def _change(database: Database, anomaly_id: str, given: str, note: str | None) -> str | None:
    """Return what was done; None if there is no such anomaly."""
    if given == "none":
        return "It has no mark." if delete_mark(database, anomaly_id) else None
    stored = save_mark(database, anomaly_id, Mark(given), note, utc_now())
    return None if stored is None else f"Marked as {given}: {stored.kind} of {stored.symbol}, {iso(stored.timestamp)}."
