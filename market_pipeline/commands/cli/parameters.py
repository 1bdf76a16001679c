"""Values and options that several commands share, and the examples below their help."""

import ipaddress
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timezone
from typing import Any, TypeVar

import click

from market_pipeline.commands.ports import API_PORT, UI_PORT
from market_pipeline.core.program import PROGRAM

WIDEST = 120
PORT = click.IntRange(1, 65_535)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def day(text: str) -> date:
    """Parse a UTC day."""
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").date()
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a day; write it as 2026-01-31") from None


def moment(text: str) -> date | datetime:
    """Parse a UTC day, or a time, which is UTC unless it has an offset."""
    text = text.strip()
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
        return when.replace(tzinfo=when.tzinfo or timezone.utc).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        message = f"{text!r} is not a time; write it as 2026-01-31 or 2026-01-31T12:00 (UTC)"
        raise click.BadParameter(message) from None


def address(text: str) -> str:
    """Parse an IP address of this machine, with or without brackets; `localhost` is 127.0.0.1."""
    try:
        return "127.0.0.1" if text.lower() == "localhost" else str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        message = f"{text!r} is not an address; write 127.0.0.1, ::1, or 0.0.0.0 for all"
        raise click.BadParameter(message) from None


ui_port_option = click.option(
    "--port", type=PORT, default=UI_PORT, show_default=True, metavar="PORT", help="Port of the UI on 127.0.0.1."
)
api_port_option = click.option(
    "--api-port", type=PORT, metavar="PORT", help=f"Port of the API and its page on 127.0.0.1.  [default: {API_PORT}]"
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation; required without a terminal.")


def _use_demo(context: click.Context, parameter: click.Parameter, chosen: bool) -> None:
    if chosen and not context.resilient_parsing:
        from market_pipeline.commands.demo_data import demo_environment

        context.with_resource(demo_environment())


# Adds `--demo`: the command works on the data of `market-pipeline demo` in this folder. It needs no code for that: its
# environment names the demo's settings and DAGSTER_HOME.
demo_option = click.option(
    "--demo", is_flag=True, expose_value=False, callback=_use_demo,
    help="Use the demo's data instead of the configured database.",
)


@contextmanager
def notice(text: str = "Loading ...") -> Iterator[None]:
    """Show `text` on a terminal while the block works: imports alone take seconds."""
    shown = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if shown:
        click.secho(text, err=True, nl=False, dim=True)
    try:
        yield
    finally:
        if shown:
            click.echo("\r\x1b[K", err=True, nl=False)


def examples(*lines: str) -> str:
    """Return the end of a command's help: `lines`, to be typed after the name of the program."""
    title = "Example" if len(lines) == 1 else "Examples"
    return "\n".join(["\b", f"{title}:", *(f"  {PROGRAM} {line}".rstrip() for line in lines)])
