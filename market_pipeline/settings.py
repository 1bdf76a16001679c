"""Every setting, typed, from the environment or a `.env` file. Reading them does no other I/O."""

import os
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

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


class SettingsError(ValueError):
    """One or more settings cannot be used; the message names each variable, value and remedy."""


def _normalise_database_url(secret: SecretStr) -> SecretStr:
    """PostgreSQL through psycopg2, SQLite through an absolute path, nothing else."""
    try:
        url = make_url(secret.get_secret_value())
    except ArgumentError:
        raise ValueError("not a database URL; write sqlite:///prices.db or postgresql://user:password@host/name") from None
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg2"):
        url = url.set(drivername="postgresql+psycopg2")
    elif url.drivername == "sqlite" and url.database and url.database != ":memory:":
        url = url.set(database=str(Path(url.database).absolute()))
    else:
        raise ValueError("only sqlite:///file.db and postgresql://user:password@host/name are supported (no in-memory database: runs are processes of their own)")
    return SecretStr(url.render_as_string(hide_password=False))


def _check_cron(expression: str) -> str:
    try:
        CronSim(expression, utc_now())
    except CronSimError:
        raise ValueError("not a cron expression of five fields such as */5 * * * * (UTC)") from None
    if len(expression.split()) != 5:
        raise ValueError("write exactly five cron fields, such as */5 * * * * (UTC)")
    return expression


def _check_url(url: str) -> str:
    if not url.startswith(("http://", "https://")) or "@" in url or "?" in url:
        raise ValueError("write it as https://host/api/v3, without credentials or a query")
    return url.rstrip("/")


def _check_history_start(day: date) -> date:
    if not date(2013, 1, 1) <= day <= utc_now().date():
        raise ValueError("a day from 2013-01-01 to today, as YYYY-MM-DD")
    return day


def _check_symbols(text: str) -> str:
    parse_catalogue(text)
    return text


def _blank_is_unset(value: Any) -> Any:
    return None if value == "" else value


_Upper = BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)
_Blank = BeforeValidator(_blank_is_unset)


class Settings(BaseSettings):
    """The settings of this installation; each field is the environment variable of its name."""

    # Values stay out of pydantic's own messages: they may be secrets.
    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: Annotated[SecretStr, AfterValidator(_normalise_database_url)] = Field(
        default=SecretStr("sqlite:///prices.db"), validate_default=True
    )
    coingecko_plan: Plan = "keyless"
    coingecko_api_key: Annotated[SecretStr | None, _Blank] = None
    coingecko_base_url: Annotated[str | None, AfterValidator(lambda url: url and _check_url(url)), _Blank] = None
    market_symbols: Annotated[str, AfterValidator(_check_symbols)] = "BTC,ETH,SOL,ADA,DOT"
    history_start: Annotated[date, AfterValidator(_check_history_start)] = date(2026, 1, 1)
    collect_cron: Annotated[str, AfterValidator(_check_cron)] = "*/5 * * * *"
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], _Upper] = "INFO"

    @model_validator(mode="after")
    def _key_fits_plan(self) -> "Settings":
        if self.coingecko_plan == "keyless" and self.coingecko_api_key is not None:
            raise ValueError("COINGECKO_API_KEY is set but COINGECKO_PLAN is keyless; set COINGECKO_PLAN to demo or pro (the key does not tell which)")
        if self.coingecko_plan != "keyless" and self.coingecko_api_key is None:
            raise ValueError(f"COINGECKO_PLAN={self.coingecko_plan} needs COINGECKO_API_KEY; set it or use COINGECKO_PLAN=keyless")
        return self

    def as_environment(self) -> dict[str, str]:
        """These settings as environment variables for a child process; holds secrets."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name.upper(): "" if value is None else value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in values.items()
        }

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


_ALLOWED = {
    "coingecko_plan": "allowed are keyless, demo, pro",
    "log_level": "allowed are DEBUG, INFO, WARNING, ERROR",
}
_SECRET = {"database_url", "coingecko_api_key"}


def load_settings(env_file: str | None = ".env") -> Settings:
    """Read and validate the settings; SettingsError names each variable, its value and what is allowed."""
    try:
        return Settings(_env_file=env_file)
    except ValidationError as error:
        raise SettingsError(_explain(error, env_file)) from None


def _explain(error: ValidationError, env_file: str | None) -> str:
    lines = ["These settings cannot be used (environment or .env):"]
    for problem in error.errors(include_url=False):
        text = str(problem["msg"]).removeprefix("Value error, ")
        if not problem["loc"]:
            lines.append(f"- {text}")
            continue
        field = str(problem["loc"][0])
        value = "(hidden)" if field in _SECRET else repr(_raw_value(field, env_file))
        lines.append(f"- {field.upper()}={value}: {_ALLOWED.get(field, text)}")
    return "\n".join(lines)


def _raw_value(field: str, env_file: str | None) -> str:
    """What the user wrote, for the message."""
    from dotenv import dotenv_values

    written = {name.lower(): value for name, value in (dotenv_values(env_file) if env_file else {}).items()}
    written.update({name.lower(): value for name, value in os.environ.items()})
    return written.get(field) or ""
