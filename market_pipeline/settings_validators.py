"""What a setting may say. Each rule returns the value as it is used from then on, or raises ValueError
with what is allowed; no message holds a secret."""

import os
import re
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from cronsim import CronSim, CronSimError
from pydantic import SecretStr
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import parse_catalogue

_POSTGRESQL_FORM = (
    "write postgresql://user:password@host:5432/name, with %40 for an @ and %2F for a / in the password"
)
_CRON_VALUE = r"(?:\d+|[a-z]{3})"
# Croniter takes a range of one value, such as 5-5, for any value, and a step of one value its own way.
_CRON_ENTRY = re.compile(
    rf"\*(/\d+)?|{_CRON_VALUE}|(?!({_CRON_VALUE})-\2(?!\w)){_CRON_VALUE}-{_CRON_VALUE}(/\d+)?", re.IGNORECASE
)

_PASSWORD_PARAMETERS = {"password", "passfile", "sslpassword"}


def normalise_database_url(secret: SecretStr) -> SecretStr:
    """PostgreSQL through psycopg2, SQLite through an absolute path, nothing else."""
    url = _parse_database_url(secret.get_secret_value())
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg2"):
        if hidden := sorted(_PASSWORD_PARAMETERS & set(url.query)):
            # Whoever shows a URL hides the password of its user part alone.
            names = " and ".join(hidden)
            raise ValueError(f"{names} cannot stand in the query; write the password as user:password@host")
        if "@" in (url.database or ""):
            # A part of the password after an unquoted slash, which messages would show as the name.
            raise ValueError(f"its database's name holds an @; {_POSTGRESQL_FORM}")
        url = url.set(drivername="postgresql+psycopg2")
    elif url.drivername == "sqlite" and url.database and url.database != ":memory:":
        url = url.set(database=str(Path(os.path.expanduser(url.database)).absolute()))
    else:
        raise ValueError(
            "only sqlite:///file.db and postgresql://user:password@host/name are supported "
            "(no in-memory database: runs are processes of their own)"
        )
    return SecretStr(url.render_as_string(hide_password=False))


def _parse_database_url(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError(
            "not a database URL; write sqlite:///prices.db or postgresql://user:password@host/name"
        ) from None
    except ValueError:
        raise ValueError(f"its port is not a number; {_POSTGRESQL_FORM}") from None
    if "@" in (url.host or ""):
        # A part of the password, which messages would show as the host.
        raise ValueError(f"its host holds an @; {_POSTGRESQL_FORM}")
    return url


def check_cron(expression: str) -> str:
    """A cron expression of five fields, in UTC, that Dagster accepts and means the same by as CronSim.

    Dagster parses with croniter, which is too expensive to import here; the two agree on the plain forms.
    """
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError("not a cron expression of exactly five cron fields such as */5 * * * * (UTC)")
    days, weekdays = fields[2], fields[4]
    plain = all(_CRON_ENTRY.fullmatch(entry) for field in fields for entry in field.split(","))
    if not plain or (days != "*" and weekdays != "*" and "*" in days + weekdays):
        raise ValueError(
            "write each cron field with *, numbers, names, ranges such as 9-17, lists, and steps of * or of a range "
            "such as */5, and no step of days together with weekdays"
        )
    try:
        CronSim(expression, utc_now())
        # With weekdays a day that does not exist, such as February 30, is accepted here but not by Dagster.
        CronSim(" ".join([*fields[:4], "*"]), utc_now())
    except CronSimError:
        raise ValueError("not a cron expression of five fields such as */5 * * * * (UTC)") from None
    return expression


def check_url(url: str) -> str:
    """An http address without credentials or a query, and without a slash at its end."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in url or "?" in url:
        raise ValueError("write it as https://host/path, without credentials or a query")
    return url.rstrip("/")


def check_token(secret: SecretStr) -> SecretStr:
    """A bearer token that an HTTP header can carry and nobody guesses: 16 characters or more, no spaces."""
    if not re.fullmatch(r"[A-Za-z0-9._~+/\-]{16,}=*", secret.get_secret_value()):
        raise ValueError(
            "write 16 or more letters, digits or any of -._~+/ such as `openssl rand -hex 32` prints"
        )
    return secret


def check_history_start(day: date) -> date:
    """A day from 2013-01-01 to today."""
    if not date(2013, 1, 1) <= day <= utc_now().date():
        raise ValueError("out of range")
    return day


def check_symbols(text: str) -> str:
    """Text that describes a catalogue; see `symbols.parse_catalogue`."""
    parse_catalogue(text)
    return text
