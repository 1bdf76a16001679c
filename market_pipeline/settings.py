"""The settings, typed, from the environment or a `.env` file. Reading them does no other I/O."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from dotenv.parser import Original, parse_stream
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url

from market_pipeline.core.loopback import is_loopback
from market_pipeline.core.symbols import Catalogue, parse_catalogue
from market_pipeline.settings_validators import (
    check_alert_urls,
    check_broker_url,
    check_cron,
    check_dagster_database_url,
    check_heartbeat_url,
    check_history_start,
    check_quiet_hours,
    check_symbols,
    check_token,
    check_url,
    normalise_database_url,
)

Plan = Literal["keyless", "demo", "pro"]

PUBLIC_URL = "https://api.coingecko.com/api/v3"
PRO_URL = "https://pro-api.coingecko.com/api/v3"

# Where `market-pipeline run` keeps Dagster's history, below the project's folder, if DAGSTER_HOME is not set.
LOCAL_DAGSTER_HOME = ".dagster_home"

# As many events as the largest runs have of one asset.
EVENT_BATCH_SIZE = 1_000


class SettingsError(ValueError):
    """One or more settings cannot be used; the message names each variable, value and remedy."""


_Lower = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
_Upper = BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)


class Settings(BaseSettings):
    """The settings of this installation; each field is the environment variable of its name.

    The environment takes precedence over the file; a variable that is empty there means the default.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        # Editors on Windows write a byte order mark.
        env_file_encoding="utf-8-sig",
        extra="ignore",
        frozen=True,
        # Values may be secrets: keep them out of pydantic's messages.
        hide_input_in_errors=True,
    )

    database_url: Annotated[SecretStr, AfterValidator(normalise_database_url)] = Field(
        default=SecretStr("sqlite:///prices.db"), validate_default=True
    )
    dagster_database_url: Annotated[SecretStr, AfterValidator(check_dagster_database_url)] | None = None
    # How many events of the partitions of a run Dagster stores at once; 0 for each at its time.
    dagster_event_batch_size: Annotated[int, Field(ge=0, le=100_000)] = EVENT_BATCH_SIZE
    celery_broker_url: Annotated[SecretStr, AfterValidator(check_broker_url)] | None = None
    coingecko_plan: Annotated[Plan, _Lower] = "keyless"
    coingecko_api_key: SecretStr | None = None
    coingecko_base_url: Annotated[str, AfterValidator(check_url)] | None = None
    coingecko_requests_per_minute: Annotated[int, Field(ge=1, le=10_000)] | None = None
    coingecko_monthly_credits: Annotated[int, Field(ge=1)] | None = None
    market_symbols: Annotated[str, AfterValidator(check_symbols)] = "BTC,ETH,SOL,ADA,DOT"
    history_start: Annotated[date, AfterValidator(check_history_start)] = date(2025, 12, 1)
    partition_days: Annotated[int, Field(ge=30)] | None = None
    collect_cron: Annotated[str, AfterValidator(check_cron)] = "*/5 * * * *"
    runs_keep_days: Annotated[int, Field(ge=1, le=3_650)] = 7
    # What is scored or calibrated by itself reads the last 200 days at most.
    raw_prices_keep_days: Annotated[int, Field(ge=200, le=36_500)] | None = None
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], _Upper] = "INFO"
    log_format: Annotated[Literal["auto", "json", "console"], _Lower] = "auto"
    api_token: Annotated[SecretStr, AfterValidator(check_token)] | None = None
    api_without_token: bool = False
    dagster_ui_url: Annotated[str, AfterValidator(check_url)] = "http://127.0.0.1:3000"
    # Where people open the API's pages.
    api_url: Annotated[str, AfterValidator(check_url)] = "http://127.0.0.1:8000"
    alert_urls: Annotated[SecretStr, AfterValidator(check_alert_urls)] | None = None
    alert_severity: Annotated[Literal["watch", "alert", "critical"], _Lower] = "alert"
    alert_quiet_hours: Annotated[str, AfterValidator(check_quiet_hours)] | None = None
    alert_heartbeat_url: Annotated[SecretStr, AfterValidator(check_heartbeat_url)] | None = None

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
                "set COINGECKO_PLAN to demo or pro (the key does not show which)"
            )
        if self.coingecko_plan != "keyless" and self.coingecko_api_key is None:
            raise ValueError(
                f"COINGECKO_PLAN={self.coingecko_plan} needs COINGECKO_API_KEY; "
                "set it or use COINGECKO_PLAN=keyless"
            )
        return self

    def as_environment(self) -> dict[str, str]:
        """Return these settings as environment variables for a child process; includes secrets."""
        values = {name.upper(): getattr(self, name) for name in type(self).model_fields}
        return {name: _as_text(value) for name, value in values.items()}

    @property
    def catalogue(self) -> Catalogue:
        """The coins that `market_symbols` names; simulated ones if the API is on a loopback address."""
        coins = parse_catalogue(self.market_symbols)
        return coins.simulated if is_loopback(urlsplit(self.base_url).hostname or "") else coins

    def first_day(self, now: datetime) -> date:
        """Return the first day that has partitions at `now` (aware UTC), is repaired and is checked."""
        if self.partition_days is None:
            return self.history_start
        return max(self.history_start, now.date() - timedelta(days=self.partition_days - 1))

    @property
    def alert_receivers(self) -> list[str]:
        """The URLs of `alert_urls`, one per receiver; they are secrets."""
        return [] if self.alert_urls is None else self.alert_urls.get_secret_value().split()

    @property
    def base_url(self) -> str:
        """The API's base URL: as configured, else the plan's."""
        return self.coingecko_base_url or (PRO_URL if self.coingecko_plan == "pro" else PUBLIC_URL)

    @property
    def database(self) -> URL:
        """The database URL; its string form hides the password."""
        return make_url(self.database_url.get_secret_value())

    @property
    def dagster_database(self) -> URL | None:
        """The PostgreSQL database of Dagster's runs, events and schedules; None if they are SQLite files."""
        if self.dagster_database_url is not None:
            return make_url(self.dagster_database_url.get_secret_value())
        return self.database if self.database.get_backend_name() == "postgresql" else None

    @property
    def celery_broker_password(self) -> str | None:
        """The password of the broker, decoded; None if it has none."""
        url = self.celery_broker_url
        password = urlsplit(url.get_secret_value()).password if url else None
        return unquote(password) if password else None


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return "" if value is None else str(value)


_ALLOWED = {
    "coingecko_plan": "allowed are keyless, demo, pro",
    "coingecko_requests_per_minute": "allowed is a whole number from 1 to 10000, or nothing for the plan's own",
    "coingecko_monthly_credits": "allowed is a whole number above 0, or nothing for the plan's own",
    "dagster_event_batch_size": "allowed is a whole number from 0 (no batches) to 100000, or nothing for the default",
    "history_start": "allowed is a day from 2013-01-01 to today, written YYYY-MM-DD",
    "partition_days": "allowed is a whole number from 30, or nothing for all days since HISTORY_START",
    "runs_keep_days": "allowed is a whole number from 1 to 3650",
    "raw_prices_keep_days": "allowed is a whole number from 200 to 36500, or nothing to keep every price: what is "
    "scored or calibrated by itself reads the last 200 days at most",
    "log_level": "allowed are DEBUG, INFO, WARNING, ERROR",
    "log_format": "allowed are auto, json, console",
    "api_without_token": "allowed are true, false",
    "alert_severity": "allowed are watch, alert, critical",
}
_SECRET = {
    "database_url", "dagster_database_url", "celery_broker_url", "coingecko_api_key", "api_token", "alert_urls",
    "alert_heartbeat_url",
}


def load_settings(env_file: str | None = ".env", **fixed: Any) -> Settings:
    """Read and validate the settings; values in `fixed` override both sources.

    SettingsError names each bad variable, its value and what is allowed, or the line of `env_file` that cannot be
    read.
    """
    try:
        if env_file is not None:
            _check_env_file(Path(env_file))
        return Settings(_env_file=env_file, **fixed)
    except ValidationError as error:
        raise SettingsError(_explain(error, fixed)) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{env_file} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        remedy = "let this user read it, or move it away"
        raise SettingsError(f"{env_file} cannot be read: {error.strerror}; {remedy}") from None


def _check_env_file(file: Path) -> None:
    """Raise SettingsError for lines that python-dotenv would silently skip."""
    if not file.exists():
        return
    with file.open(encoding="utf-8-sig") as lines:
        bad = [str(_line(binding.original)) for binding in parse_stream(lines) if binding.error]
    if bad:
        where = f"line {bad[0]}" if len(bad) == 1 else f"lines {', '.join(bad)}"
        raise SettingsError(
            f"{file}, {where}: not NAME=value, or a quote that is never closed; close the quote or correct the line"
        )


def _line(original: Original) -> int:
    """Return the line number of its text: an `Original` includes the blank lines before it."""
    blank = len(original.string) - len(original.string.lstrip())
    return original.line + original.string[:blank].count("\n")


def _explain(error: ValidationError, fixed: Mapping[str, Any]) -> str:
    problems = error.errors(include_url=False)
    given = all(problem["loc"] and str(problem["loc"][0]) in fixed for problem in problems)
    lines = [f"These settings cannot be used ({'given by the program' if given else 'environment or .env'}):"]
    for problem in problems:
        text = str(problem["msg"]).removeprefix("Value error, ")
        if not problem["loc"]:
            lines.append(f"- {text}")
            continue
        field = str(problem["loc"][0])
        lines.append(f"- {field.upper()}={_shown(field, problem['input'])}: {_ALLOWED.get(field, text)}")
    return "\n".join(lines)


def _shown(field: str, value: object) -> str:
    """Return the value for a message; a URL may carry credentials before an @ or in its query."""
    secret = field in _SECRET or (field == "coingecko_base_url" and not {"@", "?"}.isdisjoint(str(value)))
    return "(hidden)" if secret else repr(value)
