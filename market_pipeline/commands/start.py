"""What every command begins with: the settings, the log, and warnings of what doctor would name as well."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from market_pipeline.doctor.budget import examine_schedule_cost
from market_pipeline.doctor.context import Finding, Subject
from market_pipeline.doctor.settings import examine_setting_names
from market_pipeline.logs import configure_logging, get_logger
from market_pipeline.logs.redaction import too_short_to_hide
from market_pipeline.settings import Settings, SettingsError, load_settings
from market_pipeline.storage.engine import Database

logger = get_logger(__name__)


class StartError(RuntimeError):
    """Something on this machine prevents the command from starting; the message says what to do."""


def command_settings(**fixed: Any) -> Settings:
    """Read the settings, those in `fixed` as given, configure logging, warn of misspelt variables and short secrets.

    Raises SettingsError, which names misspelt variables too: one of them may be the cause.
    """
    misspelt = list(examine_setting_names(Subject(Path.cwd(), os.environ)))
    try:
        settings = load_settings(**fixed)
    except SettingsError as error:
        raise SettingsError("\n".join([str(error), *(f"- {finding.detail}" for finding in misspelt)])) from None
    configure_logging(settings)
    _warn(misspelt)
    if short := too_short_to_hide(settings):
        logger.warning("%s; choose a longer one", short)
    return settings


def warn_of_cost(settings: Settings, database: Database) -> None:
    """Warn if the plan cannot pay for what COLLECT_CRON asks for."""
    subject = Subject(Path.cwd(), os.environ, settings=settings, database=database)
    _warn(finding for finding in examine_schedule_cost(subject) if finding.status != "ok")


def _warn(findings: Iterable[Finding]) -> None:
    for finding in findings:
        logger.warning("%s %s", finding.detail.rstrip(".") + ".", finding.remedy)


def say(line: str = "") -> None:
    """One line on standard output, which is for people; logs go to standard error."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def confirmed(yes: bool) -> bool:
    """Whether to go on: `yes` from the command line, else as a person answers.

    StartError where there is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise StartError("there is no terminal to ask on; look at the plan and add --yes")
    sys.stdout.write("Go on? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    say("Nothing was done.")
    return False
