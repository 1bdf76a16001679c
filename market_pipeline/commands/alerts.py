"""Send a test message, list alerts, and snooze them."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import click

from market_pipeline.alerts.signals import TITLES
from market_pipeline.alerts.texts import headline, shown
from market_pipeline.anomalies.anomaly import Kind as AnomalyKind
from market_pipeline.commands.receivers import place_of, required_receivers
from market_pipeline.commands.start import command_settings, database_of
from market_pipeline.core.clock import utc_now
from market_pipeline.core.program import command
from market_pipeline.core.wording import span
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import alert_state
from market_pipeline.storage.queries.alert_outbox import AlertMessage, newest_messages, receiver_states
from market_pipeline.storage.queries.alert_state import ANY, Snooze
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
