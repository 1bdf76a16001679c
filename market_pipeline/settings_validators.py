"""Validators for settings: each returns the normalised value or raises ValueError with what is allowed.

No message holds a secret.
"""

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
from market_pipeline.core.daily_hours import parse_daily_hours
from market_pipeline.core.symbols import parse_catalogue

_POSTGRESQL_FORM = (
    "write postgresql://user:password@host:5432/name, with %40 for an @ and %2F for a / in the password"
)
_CRON_VALUE = r"(?:\d+|[a-z]{3})"
# Croniter reads a range of one value, such as 5-5, as any value, and disagrees on a step of one value.
_CRON_ENTRY = re.compile(
    rf"\*(/\d+)?|{_CRON_VALUE}|(?!({_CRON_VALUE})-\2(?!\w)){_CRON_VALUE}-{_CRON_VALUE}(/\d+)?", re.IGNORECASE
)

# A comma separates URLs only where the next one begins: some services take several targets, separated by commas.
_BETWEEN_URLS = re.compile(r"\s+|,\s*(?=[A-Za-z][A-Za-z0-9+.\-]{0,40}://)")
_RECEIVER_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,40}://[!-~]+")

_PASSWORD_PARAMETERS = {"password", "passfile", "sslpassword"}


def normalise_database_url(secret: SecretStr) -> SecretStr:
    """Accept PostgreSQL (through psycopg2) and SQLite (made an absolute path)."""
    url = _parse_database_url(secret.get_secret_value())
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg2"):
        if hidden := sorted(_PASSWORD_PARAMETERS & set(url.query)):
            # SQLAlchemy hides only the password of the user part.
            names = " and ".join(hidden)
            raise ValueError(f"{names} cannot stand in the query; write the password as user:password@host")
        if "@" in (url.database or ""):
            # An unquoted slash in the password: messages would show the rest of it as the database name.
            raise ValueError(f"the database name contains an @; {_POSTGRESQL_FORM}")
        url = url.set(drivername="postgresql+psycopg2")
    elif url.drivername == "sqlite" and url.database and url.database != ":memory:":
        url = url.set(database=str(Path(os.path.expanduser(url.database)).absolute()))
    else:
        raise ValueError(
            "only sqlite:///file.db and postgresql://user:password@host/name are supported "
            "(no in-memory database: runs are processes of their own)"
        )
    return SecretStr(url.render_as_string(hide_password=False))


def check_dagster_database_url(secret: SecretStr) -> SecretStr:
    """Accept PostgreSQL (through psycopg2)."""
    if _parse_database_url(secret.get_secret_value()).get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(
            "only postgresql://user:password@host/name is supported; leave it empty to let Dagster use the database of "
            "DATABASE_URL, or SQLite files if that is a file"
        )
    return normalise_database_url(secret)


def check_broker_url(secret: SecretStr) -> SecretStr:
    """Accept Redis, where Celery keeps both the queue of runs and what became of each."""
    form = "write redis://:password@host:6379/0 (rediss:// for TLS), with %40 for an @ and %2F for a / in the password"
    try:
        url = urlsplit(secret.get_secret_value())
        complete = url.scheme in ("redis", "rediss") and url.hostname and url.port != 0
    except ValueError:
        complete = False
    if not complete:
        raise ValueError(f"not the URL of a Redis server; {form}")
    if "password" in url.query:
        raise ValueError(f"the password cannot stand in the query; {form}")
    if url.path.strip("/") and not url.path.strip("/").isdecimal():
        # An unquoted slash in the password: messages would show the rest of it.
        raise ValueError(f"what follows the host is not the number of a database; {form}")
    return secret


def _parse_database_url(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError(
            "not a database URL; write sqlite:///prices.db or postgresql://user:password@host/name"
        ) from None
    except ValueError:
        raise ValueError(f"the port is not a number; {_POSTGRESQL_FORM}") from None
    if "@" in (url.host or ""):
        # Part of the password: messages would show it as the host.
        raise ValueError(f"the host contains an @; {_POSTGRESQL_FORM}")
    return url


def check_cron(expression: str) -> str:
    """Accept a five-field cron expression (UTC) that Dagster accepts and reads as CronSim does.

    Dagster parses with croniter, which is too expensive to import here; both agree on the plain forms.
    """
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError("not a cron expression of five fields such as */5 * * * * (UTC)")
    days, weekdays = fields[2], fields[4]
    plain = all(_CRON_ENTRY.fullmatch(entry) for field in fields for entry in field.split(","))
    if not plain or (days != "*" and weekdays != "*" and "*" in days + weekdays):
        raise ValueError(
            "write each field with *, numbers, names, ranges such as 9-17, lists, and steps of * or of a range "
            "such as */5, and no step of days together with weekdays"
        )
    try:
        CronSim(expression, utc_now())
        # CronSim accepts a date that does not exist, such as February 30, if weekdays are given; Dagster does not.
        CronSim(" ".join([*fields[:4], "*"]), utc_now())
    except CronSimError:
        raise ValueError("not a cron expression of five fields such as */5 * * * * (UTC)") from None
    return expression


def check_url(url: str) -> str:
    """Accept an http(s) URL without credentials or query; drop a trailing slash."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in url or "?" in url:
        raise ValueError("write it as https://host/path, without credentials or a query")
    return url.rstrip("/")


def check_token(secret: SecretStr) -> SecretStr:
    """Accept a bearer token (RFC 6750) of at least 16 characters."""
    if not re.fullmatch(r"[A-Za-z0-9._~+/\-]{16,}=*", secret.get_secret_value()):
        raise ValueError(
            "write 16 or more letters, digits or any of -._~+/ such as `openssl rand -hex 32` prints"
        )
    return secret


def check_history_start(day: date) -> date:
    """Accept a day from 2013-01-01 to today."""
    if not date(2013, 1, 1) <= day <= utc_now().date():
        raise ValueError("out of range")
    return day


def check_symbols(text: str) -> str:
    """Accept text that `parse_catalogue` can read."""
    parse_catalogue(text)
    return text


def check_alert_urls(secret: SecretStr) -> SecretStr:
    """Accept URLs as Apprise reads them; return them separated by spaces, each once.

    Whether a service knows what stands in its URL only Apprise can tell, which is too expensive to import here.
    """
    urls = list(dict.fromkeys(part for part in _BETWEEN_URLS.split(secret.get_secret_value()) if part))
    for number, url in enumerate(urls, 1):
        if not _RECEIVER_URL.fullmatch(url):
            which = f"number {number} of {len(urls)} is" if len(urls) > 1 else "it is"
            raise ValueError(
                f"{which} not a URL of Apprise such as slack://..., tgram://..., ntfys://..., mailtos://... or "
                "jsons://host/path; write a space between two, and %20 for a space in one"
            )
    return SecretStr(" ".join(urls))


def check_heartbeat_url(secret: SecretStr) -> SecretStr:
    """Accept an http(s) URL."""
    parts = urlsplit(secret.get_secret_value())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write it as https://host/path")
    return secret


def check_quiet_hours(text: str) -> str:
    """Accept text that `parse_daily_hours` can read."""
    parse_daily_hours(text)
    return text
