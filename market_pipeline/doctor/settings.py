"""Settings: whether they are valid, where each comes from, and whether one is misspelt."""

import difflib
from collections.abc import Iterator

from dotenv import dotenv_values
from pydantic import SecretStr

from market_pipeline.core.program import is_demo
from market_pipeline.core.wording import some
from market_pipeline.doctor.context import Diagnosis, DoctorContext, fail, ok, warn
from market_pipeline.logs.redaction import secrets_of, too_short_to_hide
from market_pipeline.pipeline.partition_counts import MOST_PARTITIONS, partition_counts, partitions_of, too_many
from market_pipeline.settings import Settings, SettingsError, load_settings

# Similar enough that a typing error is likelier than a variable of another program.
_SIMILAR = 0.8

_NAMES = [name.upper() for name in Settings.model_fields]
# In the environment, other prefixes of our settings, such as LOG_, are common among other programs too.
_OUR_PREFIXES = ("ALERT_", "COINGECKO_", "COLLECT_", "MARKET_")


def examine_settings(context: DoctorContext) -> Iterator[Diagnosis]:
    """Load the settings as every command does. Sets `context.settings` if they are valid."""
    try:
        settings = load_settings(str(context.env_file))
    except SettingsError as error:
        yield fail("settings", " ".join(str(error).split()), "Correct that in .env or in the environment.")
    else:
        context.settings = settings
        context.secrets += secrets_of(settings)
        yield ok("settings", _sentence(settings, context), **shown(settings))
        if short := too_short_to_hide(settings):
            yield warn("secrets", f"{short}.", "Choose a longer one.")
        yield from examine_partitions(context)
    yield from examine_setting_names(context)


def examine_partitions(context: DoctorContext) -> Iterator[Diagnosis]:
    """Compare the partitions of an asset, today and in a year, with what Dagster handles well."""
    settings, now = context.settings, context.clock()
    counts = partition_counts(settings, now)
    numbers = {"partitions": counts.today, "partitions_in_a_year": counts.in_a_year, "most_partitions": MOST_PARTITIONS}
    if counts.in_a_year <= MOST_PARTITIONS:
        yield ok("partitions", f"{partitions_of(settings, counts)}, {counts.in_a_year:,} in a year", **numbers)
        return
    detail, remedy = too_many(settings, counts)
    yield warn("partitions", detail, remedy, **numbers)


def examine_setting_names(context: DoctorContext) -> Iterator[Diagnosis]:
    """Warn about variables spelt almost like a setting, in .env or, with one of our prefixes, in the environment."""
    given = {name.upper(): "the environment" for name in context.environment if name.upper().startswith(_OUR_PREFIXES)}
    given |= dict.fromkeys(_variables(context), ".env")
    for name, where in given.items():
        likely = difflib.get_close_matches(name, _NAMES, n=1, cutoff=_SIMILAR)
        if likely and name not in _NAMES:
            detail = f"{name} in {where} is not a setting and is ignored; {likely[0]} is one."
            yield warn("setting names", detail, f"Write {likely[0]} if you mean that.", unknown=name, likely=likely[0])


def shown(settings: Settings) -> dict[str, str | int | None]:
    """Return every setting as it may be shown: no key, and the database without its password."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    texts = {
        name: value if value is None or isinstance(value, int) else str(value)
        for name, value in values.items()
        if not isinstance(value, SecretStr)
    }
    key = "set" if settings.coingecko_api_key else "not set"
    dagster = str(settings.dagster_database) if settings.dagster_database else None
    return {**texts, "coingecko_api_key": key, "database_url": str(settings.database), "dagster_database_url": dagster,
            "coingecko_base_url": settings.base_url}


def _sentence(settings: Settings, context: DoctorContext) -> str:
    """Summarize the settings and say which come from the environment and from .env; an empty variable gives none."""
    origin = "the demo's own" if is_demo() else _origin(context)
    key = "with a key" if settings.coingecko_api_key else "no key"
    coins = some(settings.catalogue.symbols, 10)
    return f"plan {settings.coingecko_plan} ({key}), {coins} at '{settings.collect_cron}' UTC; {origin}"


def _origin(context: DoctorContext) -> str:
    environment = {name.upper(): value.strip() for name, value in context.environment.items()}
    file = _variables(context)
    sources = {
        "the environment": [name for name in _NAMES if environment.get(name)],
        ".env": [name for name in _NAMES if file.get(name) and name not in environment],
    }
    given = "; ".join(f"from {where}: {', '.join(names)}" for where, names in sources.items() if names)
    return given or "all by default"


def _variables(context: DoctorContext) -> dict[str, str]:
    """Return the variables of .env in upper case; none if it cannot be read, which loading the settings reports."""
    try:
        values = dotenv_values(context.env_file, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return {}
    return {name.upper(): (value or "").strip() for name, value in values.items()}
