"""The receivers of alerts that the settings name, and what commands that use them share."""

import socket
import sys

import click

from market_pipeline.alerts.receivers import Receiver, ReceiverError, receivers_of
from market_pipeline.alerts.texts import Place
from market_pipeline.settings import Settings


def watch_command() -> list[str]:
    """Return the command of a watcher that another command starts."""
    return [sys.executable, "-m", "market_pipeline.commands.main", "watch"]


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
