"""What commands begin with: settings, logging, the database, and confirmation."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from market_pipeline.doctor.coingecko import examine_schedule_cost
from market_pipeline.doctor.context import Diagnosis, DoctorContext
from market_pipeline.doctor.settings import examine_partitions, examine_setting_names
from market_pipeline.logs import configure_logging, get_logger
from market_pipeline.logs.redaction import too_short_to_hide
from market_pipeline.settings import Settings, SettingsError, load_settings
from market_pipeline.storage.engine import Database

logger = get_logger(__name__)


def command_settings(**fixed: Any) -> Settings:
    """Read the settings, those in `fixed` as given, and configure logging.

    Warns of misspelt variables and of secrets that are too short to be redacted. Raises SettingsError, which names
    misspelt variables too: one of them may be the cause.
    """
    misspelt = list(examine_setting_names(DoctorContext(Path.cwd(), os.environ)))
    try:
        settings = load_settings(**fixed)
    except SettingsError as error:
        raise SettingsError("\n".join([str(error), *(f"- {diagnosis.detail}" for diagnosis in misspelt)])) from None
    configure_logging(settings)
    _warn(misspelt)
    if short := too_short_to_hide(settings):
        logger.warning("%s; choose a longer one", short)
    return settings


def database_of(settings: Settings) -> Database:
    """Open the configured database, in which a symbol is read under its configured coin id."""
    return Database(settings.database, settings.catalogue.ids)


def warn_of_cost(settings: Settings, database: Database) -> None:
    """Warn if the plan has too few credits for COLLECT_CRON."""
    context = DoctorContext(Path.cwd(), os.environ)
    context.settings, context.database = settings, database
    _warn(diagnosis for diagnosis in examine_schedule_cost(context) if diagnosis.status != "ok")


def warn_of_partitions(settings: Settings) -> None:
    """Warn if there are more partitions than Dagster handles well, or will be within a year."""
    context = DoctorContext(Path.cwd(), os.environ)
    context.settings = settings
    _warn(diagnosis for diagnosis in examine_partitions(context) if diagnosis.status != "ok")


def _warn(diagnoses: Iterable[Diagnosis]) -> None:
    for diagnosis in diagnoses:
        logger.warning("%s %s", diagnosis.detail.rstrip(".") + ".", diagnosis.remedy)


def confirmed(yes: bool) -> bool:
    """Return whether to go on: `yes` from the command line, else as answered on the terminal.

    Raises UsageError where there is no terminal.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal for the confirmation; check the plan and add --yes")
    try:
        if click.confirm("Go on?"):
            return True
    except click.Abort as error:
        # Ctrl-D, the end of the input, is a no. Ctrl-C ends the command.
        if not isinstance(error.__context__, EOFError):
            raise
        click.echo()
    click.echo("Nothing was done.")
    return False
