"""Are the settings valid, where does each come from, and is one of them misspelt?"""

import difflib
from collections.abc import Iterator

from dotenv import dotenv_values
from pydantic import SecretStr

from market_pipeline.core.wording import some
from market_pipeline.doctor.context import Finding, Subject, fail, ok, warn
from market_pipeline.logs.redaction import secrets_of, too_short_to_hide
from market_pipeline.settings import Settings, SettingsError, load_settings

# So alike that a typing error is likelier than a variable of another program.
_ALIKE = 0.8

_NAMES = [name.upper() for name in Settings.model_fields]
# In the environment other prefixes of ours, such as LOG_, belong to other programs as well.
_OURS = ("COINGECKO_", "COLLECT_", "MARKET_")


def examine_settings(subject: Subject) -> Iterator[Finding]:
    """Read them as every command does; what is valid is kept in `subject`."""
    try:
        settings = load_settings(str(subject.env_file))
    except SettingsError as error:
        said = " ".join(str(error).split())
        yield fail("settings", said, "Correct them in .env or in the environment.")
    else:
        subject.settings = settings
        subject.secrets += secrets_of(settings)
        yield ok("settings", _sentence(settings, subject), **shown(settings))
        if short := too_short_to_hide(settings):
            yield warn("secrets", f"{short}.", "Choose a longer one.")
    yield from examine_setting_names(subject)


def shown(settings: Settings) -> dict[str, str | int | None]:
    """Every setting as it may be shown: the key as set or not, the database without its password."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    texts = {
        name: value if value is None or isinstance(value, int) else str(value)
        for name, value in values.items()
        if not isinstance(value, SecretStr)
    }
    key = "set" if settings.coingecko_api_key else "not set"
    return {**texts, "coingecko_api_key": key, "database_url": str(settings.database),
            "coingecko_base_url": settings.base_url}


def _sentence(settings: Settings, subject: Subject) -> str:
    key = "with a key" if settings.coingecko_api_key else "no key"
    coins = some(settings.catalogue.symbols, 10)
    what = f"plan {settings.coingecko_plan} ({key}), {coins} at '{settings.collect_cron}' UTC"
    sources = _sources(subject)
    given = "; ".join(f"from {where}: {', '.join(names)}" for where, names in sources.items() if names)
    return f"{what}; {given or 'all by default'}"


def _sources(subject: Subject) -> dict[str, list[str]]:
    """The settings that the environment and the file give; a variable set to nothing gives none."""
    environment = {name.upper(): value.strip() for name, value in subject.environment.items()}
    file = {name: value for name, value in _file(subject).items() if name not in environment}
    return {
        "the environment": [name for name in _NAMES if environment.get(name)],
        ".env": [name for name in _NAMES if file.get(name)],
    }


def examine_setting_names(subject: Subject) -> Iterator[Finding]:
    """Warn of each variable of .env, and of the environment where the prefix is ours, that is spelt like a setting."""
    given = {name.upper(): "the environment" for name in subject.environment if name.upper().startswith(_OURS)}
    given |= dict.fromkeys(_file(subject), ".env")
    for name, where in given.items():
        likely = difflib.get_close_matches(name, _NAMES, n=1, cutoff=_ALIKE)
        if likely and name not in _NAMES:
            yield warn(
                "setting names", f"{name} in {where} is no setting and is ignored; {likely[0]} is.",
                f"Write {likely[0]} if that is meant.", unknown=name, likely=likely[0],
            )


def _file(subject: Subject) -> dict[str, str]:
    """The variables of .env in upper case; none if it cannot be read, which the settings tell."""
    try:
        values = dotenv_values(subject.env_file, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return {}
    return {name.upper(): (value or "").strip() for name, value in values.items()}
