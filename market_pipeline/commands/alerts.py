"""Mark anomalies; send a test message, list alerts, and snooze them."""

import re
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta

import click

from market_pipeline.alerts.receivers import Receiver, ReceiverError, receivers_of
from market_pipeline.alerts.signals import TITLES
from market_pipeline.alerts.texts import Place, headline, shown
from market_pipeline.anomalies.anomaly import Kind as AnomalyKind
from market_pipeline.anomalies.marks import Mark, parse_note
from market_pipeline.commands.start import command_settings, database_of
from market_pipeline.core.clock import iso, utc_now
from market_pipeline.core.program import command
from market_pipeline.core.wording import span
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import alert_state
from market_pipeline.storage.queries.alert_outbox import AlertMessage, newest_messages, receiver_states
from market_pipeline.storage.queries.alert_state import ANY, Snooze
from market_pipeline.storage.queries.anomaly_marks import delete_mark, save_mark
from market_pipeline.storage.schema.migrate import check_schema

# What `alerts` lists as kinds.
KINDS = [*(kind.value for kind in AnomalyKind), *TITLES, "run-failed", "pipeline-stopped"]
_LISTED = 20
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def test() -> int:
    """Send a test message to every receiver, past the outbox; return 1 if one does not accept it."""
    settings = command_settings()
    receivers, place, now = required_receivers(settings), place_of(settings), utc_now()
    sent = f"Sent at {now:%Y-%m-%d %H:%M:%S} UTC by `{command('alert-test')}`. Alerts will arrive here."
    body = f"{sent}\n{place.ui_url}"
    message = AlertMessage(f"test@{now:%Y%m%dT%H%M%S}", "test", "test", "alert", "this is only a test", body)
    errors = {receiver.name: receiver.send(*shown(message, place), message) for receiver in receivers}
    for name, error in errors.items():
        click.echo(f"{name}: {'accepted' if error is None else f'not accepted: {error}'}")
    return 1 if any(errors.values()) else 0


def show() -> int:
    """Print the watcher, the receivers, open episodes, snoozes and the newest messages."""
    settings = command_settings()
    database, now = database_of(settings), utc_now()
    try:
        check_schema(database)
        for line in _lines(database, now, configured=bool(settings.alert_receivers)):
            click.echo(line)
    finally:
        database.dispose()
    return 0


def snooze(symbol: str, kind: str, length: timedelta | None) -> int:
    """Store or end (None) a snooze; raise UsageError if the symbol is not collected."""
    settings = command_settings()
    if symbol != ANY:
        try:
            symbol = settings.catalogue.validate_symbol(symbol)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    what = f"{'everything' if kind == ANY else kind} of {'all' if symbol == ANY else symbol}"
    database, now = database_of(settings), utc_now()
    try:
        check_schema(database)
        if length is None:
            ended = alert_state.end_snooze(database, symbol, kind)
            click.echo(f"No longer snoozed: {what}." if ended else f"Was not snoozed: {what}.")
        else:
            alert_state.set_snooze(database, Snooze(symbol, kind, now + length), now)
            click.echo(f"Snoozed until {_time(now + length)}: {what}.")
    finally:
        database.dispose()
    return 0


def mark(anomaly_id: str, given: str, note: str) -> int:
    """Save the mark, or remove it if `given` is none; raise UsageError if there is no such anomaly."""
    try:
        parsed = parse_note(note)
    except ValueError as error:
        raise click.UsageError(f"the note cannot be stored: {error}") from None
    database = database_of(command_settings())
    try:
        check_schema(database)
        said = _mark(database, anomaly_id, given, parsed) if anomaly_id.isalnum() else None
    finally:
        database.dispose()
    if said is None:
        raise click.UsageError(f"there is no anomaly with the id {anomaly_id!r}")
    click.echo(said)
    return 0


def parse_length(text: str) -> timedelta:
    """Parse 30m, 2h or 3d."""
    found = re.fullmatch(r"(\d{1,4})([mhd])", text.strip().lower())
    if found is None or not int(found[1]):
        raise click.BadParameter(f"{text!r} is not a length of time; write it as 30m, 2h or 3d")
    return int(found[1]) * _UNITS[found[2]]


def _lines(database: Database, now: datetime, *, configured: bool) -> Iterator[str]:
    watch = alert_state.read_watch(database)
    if watch is None:
        yield f"No watcher has run yet; `{command('watch')}` starts one." if configured else "ALERT_URLS is empty."
    elif watch.holder and watch.held_until and watch.held_until > now:
        yield f"Watched by {watch.holder}; it last looked {span(now - watch.looked_at)} ago."
    else:
        ago = span(now - watch.looked_at)
        yield f"No watcher runs; the last look was {ago} ago. `{command('watch')}` starts one."
    for state in receiver_states(database):
        waiting = f", {state.pending} waiting since {_time(state.oldest)}" if state.oldest else ""
        accepted = f"last accepted {_time(state.accepted_at)}" if state.accepted_at else "has accepted nothing yet"
        error = f"; {state.failures} failures: {state.last_error}" if state.failures else ""
        yield f"receiver  {state.receiver}: {accepted}{waiting}{error}"
    with database.reading() as connection:
        episodes = alert_state.open_episodes(connection)
    for episode in episodes:
        symbol = f" {episode.symbol}" if episode.symbol else ""
        yield f"open      {_time(episode.opened_at)}  {episode.level.upper()}: {episode.title} ({episode.kind}{symbol})"
    for one in alert_state.snoozes(database, now):
        yield f"snoozed   {one.symbol} {one.kind} until {_time(one.until)}"
    for created_at, message, state_of_it in newest_messages(database, _LISTED):
        yield f"{state_of_it:<9} {_time(created_at)}  {headline(message)} (id {message.shown_id})"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _mark(database: Database, anomaly_id: str, given: str, note: str | None) -> str | None:
    """Return what was done; None if there is no such anomaly."""
    if given == "none":
        return "It has no mark." if delete_mark(database, anomaly_id) else None
    stored = save_mark(database, anomaly_id, Mark(given), note, utc_now())
    return None if stored is None else f"Marked as {given}: {stored.kind} of {stored.symbol}, {iso(stored.timestamp)}."


def required_receivers(settings: Settings) -> list[Receiver]:
    """Make the receivers of `settings`; raise UsageError if there are none, or one cannot be used."""
    if not settings.alert_receivers:
        raise click.UsageError("ALERT_URLS is empty: no receiver of alerts is configured; docs/alerts.md has examples")
    try:
        return receivers_of(settings.alert_receivers)
    except ReceiverError as error:
        raise click.UsageError(str(error)) from None


def place_of(settings: Settings) -> Place:
    """Return what messages call this installation."""
    return Place(f"market_pipeline on {socket.gethostname()}", settings.dagster_ui_url)
