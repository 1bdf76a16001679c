"""Types of command line values: days, times and addresses, each refused with an example of a good one."""

import ipaddress
from datetime import date, datetime, timezone

import click


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
