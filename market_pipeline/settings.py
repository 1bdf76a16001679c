"""Every setting, typed, from the environment or a `.env` file. Reading them does no other I/O."""

import os
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from market_pipeline.clock import utc_now
from market_pipeline.symbols import Catalogue, parse_catalogue

Plan = Literal["keyless", "demo", "pro"]

PUBLIC_URL = "https://api.coingecko.com/api/v3"
PRO_URL = "https://pro-api.coingecko.com/api/v3"

_POSTGRESQL_FORM = "write postgresql://user:password@host:5432/name, with %40 for an @ in the password"
_PASSWORD_PARAMETERS = {"password", "passfile", "sslpassword"}


class SettingsError(ValueError):
    """One or more settings cannot be used; the message names each variable, value and remedy."""


def _normalise_database_url(secret: SecretStr) -> SecretStr:
    """PostgreSQL through psycopg2, SQLite through an absolute path, nothing else."""
    url = _parse_database_url(secret.get_secret_value())
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg2"):
        if hidden := sorted(_PASSWORD_PARAMETERS & set(url.query)):
            # Whoever shows a URL hides the password of its user part alone.
            names = " and ".join(hidden)
            raise ValueError(f"{names} cannot stand in the query; write the password as user:password@host")
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


def _check_cron(expression: str) -> str:
    try:
        CronSim(expression, utc_now())
    except CronSimError:
        raise ValueError("not a cron expression of five fields such as */5 * * * * (UTC)") from None
    if len(expression.split()) != 5:
        raise ValueError("write exactly five cron fields, such as */5 * * * * (UTC)")
    return expression


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in url or "?" in url:
        raise ValueError("write it as https://host/api/v3, without credentials or a query")
    return url.rstrip("/")


def _check_history_start(day: date) -> date:
    if not date(2013, 1, 1) <= day <= utc_now().date():
        raise ValueError("out of range")
    return day


def _check_symbols(text: str) -> str:
    parse_catalogue(text)
    return text


_Lower = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
_Upper = BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)


class Settings(BaseSettings):
    """The settings of this installation; each field is the environment variable of its name.

    An empty variable counts as unset. The environment wins over the file even so: empty there means the
    default.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        # Editors on Windows begin a UTF-8 file with a mark.
        env_file_encoding="utf-8-sig",
        extra="ignore",
        frozen=True,
        # Values stay out of pydantic's own messages: they may be secrets.
        hide_input_in_errors=True,
    )

    database_url: Annotated[SecretStr, AfterValidator(_normalise_database_url)] = Field(
        default=SecretStr("sqlite:///prices.db"), validate_default=True
    )
    coingecko_plan: Annotated[Plan, _Lower] = "keyless"
    coingecko_api_key: SecretStr | None = None
    coingecko_base_url: Annotated[str, AfterValidator(_check_url)] | None = None
    market_symbols: Annotated[str, AfterValidator(_check_symbols)] = "BTC,ETH,SOL,ADA,DOT"
    history_start: Annotated[date, AfterValidator(_check_history_start)] = date(2026, 1, 1)
    collect_cron: Annotated[str, AfterValidator(_check_cron)] = "*/5 * * * *"
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], _Upper] = "INFO"

    @model_validator(mode="before")
    @classmethod
    def _strip(cls, values: dict[str, Any]) -> dict[str, Any]:
        stripped = {key: value.strip() if isinstance(value, str) else value for key, value in values.items()}
        return {name: value for name, value in stripped.items() if value != ""}

    @model_validator(mode="after")
    def _key_fits_plan(self) -> "Settings":
        if self.coingecko_plan == "keyless" and self.coingecko_api_key is not None:
            raise ValueError(
                "COINGECKO_API_KEY is set but COINGECKO_PLAN is keyless; "
                "set COINGECKO_PLAN to demo or pro (the key does not tell which)"
            )
        if self.coingecko_plan != "keyless" and self.coingecko_api_key is None:
            raise ValueError(
                f"COINGECKO_PLAN={self.coingecko_plan} needs COINGECKO_API_KEY; "
                "set it or use COINGECKO_PLAN=keyless"
            )
        return self

    def as_environment(self) -> dict[str, str]:
        """These settings as environment variables for a child process; holds secrets."""
        values = {name.upper(): getattr(self, name) for name in type(self).model_fields}
        return {name: _as_text(value) for name, value in values.items()}

    @property
    def catalogue(self) -> Catalogue:
        """The coins that `market_symbols` names."""
        return parse_catalogue(self.market_symbols)

    @property
    def base_url(self) -> str:
        """Where the API is: as configured, else the host of the plan."""
        return self.coingecko_base_url or (PRO_URL if self.coingecko_plan == "pro" else PUBLIC_URL)

    @property
    def database(self) -> URL:
        """The database URL; its string form hides the password."""
        return make_url(self.database_url.get_secret_value())


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return "" if value is None else str(value)


_ALLOWED = {
    "coingecko_plan": "allowed are keyless, demo, pro",
    "history_start": "allowed is a day from 2013-01-01 to today, written YYYY-MM-DD",
    "log_level": "allowed are DEBUG, INFO, WARNING, ERROR",
}
_SECRET = {"database_url", "coingecko_api_key"}


def load_settings(env_file: str | None = ".env", **fixed: Any) -> Settings:
    """Read and validate the settings, those in `fixed` as given instead of read.

    SettingsError names each bad variable, its value and what is allowed, or says that `env_file`
    cannot be read.
    """
    try:
        return Settings(_env_file=env_file, **fixed)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{env_file} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{env_file} cannot be read: {error.strerror}") from None


def _explain(error: ValidationError) -> str:
    lines = ["These settings cannot be used (environment or .env):"]
    for problem in error.errors(include_url=False):
        text = str(problem["msg"]).removeprefix("Value error, ")
        if not problem["loc"]:
            lines.append(f"- {text}")
            continue
        field = str(problem["loc"][0])
        lines.append(f"- {field.upper()}={_shown(field, problem['input'])}: {_ALLOWED.get(field, text)}")
    return "\n".join(lines)


def _shown(field: str, value: object) -> str:
    """The value for a message; an address may carry credentials before an @ or in its query."""
    secret = field in _SECRET or (field == "coingecko_base_url" and not {"@", "?"}.isdisjoint(str(value)))
    return "(hidden)" if secret else repr(value)
