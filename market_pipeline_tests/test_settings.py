"""Settings: defaults, where they come from, and what is said of those that cannot be used."""

import random
from contextlib import suppress
from datetime import date, datetime, timezone
from pathlib import Path

import pytest
from cronsim import CronSim
from dagster._utils.schedules import is_valid_cron_schedule, schedule_execution_time_iterator

from market_pipeline.settings import Settings, SettingsError, load_settings
from market_pipeline.settings_validators import check_cron

NAMES = [name.upper() for name in Settings.model_fields]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_need_no_key_and_store_in_a_file(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.database.drivername == "sqlite"
    assert settings.database.database == str(tmp_path / "prices.db")
    assert settings.coingecko_plan == "keyless"
    assert settings.base_url == "https://api.coingecko.com/api/v3"
    assert settings.catalogue.symbols == ("BTC", "ETH", "SOL", "ADA", "DOT")
    assert settings.collect_cron == "*/5 * * * *"


def test_the_environment_wins_over_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=error\nMARKET_SYMBOLS=BTC\n")
    monkeypatch.setenv("LOG_LEVEL", "debug")
    settings = load_settings()
    assert settings.log_level == "DEBUG"
    assert settings.catalogue.symbols == ("BTC",)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_postgresql_is_always_reached_through_psycopg2(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """A bare postgresql:// means another driver to SQLAlchemy 2.1 as soon as it is installed."""
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://user:canary@host/market")
    settings = load_settings()
    assert settings.database.drivername == "postgresql+psycopg2"
    assert settings.database.password == "canary"
    assert "canary" not in f"{settings!r} {settings.database}"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("COINGECKO_PLAN", "free", "allowed are keyless, demo, pro"),
        ("LOG_LEVEL", "LOUD", "allowed are DEBUG, INFO, WARNING, ERROR"),
        ("COINGECKO_REQUESTS_PER_MINUTE", "0", "a whole number from 1 to 10000, or nothing"),
        ("COINGECKO_REQUESTS_PER_MINUTE", "many", "a whole number from 1 to 10000, or nothing"),
        ("COINGECKO_MONTHLY_CREDITS", "0", "a whole number above 0, or nothing"),
        ("MARKET_SYMBOLS", "BTC,XRP", "Unsupported symbol: 'XRP'"),
        ("HISTORY_START", "2999-01-01", "from 2013-01-01 to today"),
        ("HISTORY_START", "soon", "a day from 2013-01-01 to today, written YYYY-MM-DD"),
        ("HISTORY_START", "01.02.2026", "written YYYY-MM-DD"),
        ("COLLECT_CRON", "every minute", "not a cron expression"),
        ("COLLECT_CRON", "* * * * * *", "of five fields"),
        ("COLLECT_CRON", "0 0 * * 5L", "each field with"),
        ("COLLECT_CRON", "0 0 31 2 1", "not a cron expression"),
        ("COINGECKO_BASE_URL", "ftp://host", "https://host/path"),
        ("COINGECKO_BASE_URL", "https:///api/v3", "https://host/path"),
        ("COINGECKO_BASE_URL", "https://[host/api", "Invalid IPv6 URL"),
    ],
)
def test_a_bad_setting_is_named_with_its_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert f"{name}={value!r}" in str(error.value)
    assert allowed in str(error.value)


@pytest.mark.parametrize("url", ["https://user:canary@host/api", "https://host/api?x_cg_pro_api_key=canary"])
def test_an_address_with_credentials_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("COINGECKO_BASE_URL", url)
    with pytest.raises(SettingsError, match=r"COINGECKO_BASE_URL.*without credentials or a query") as error:
        load_settings()
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("url", ["mysql://u:canary@h/x", "sqlite://", "sqlite:///:memory:", "canary"])
def test_a_bad_database_url_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """In-memory SQLite is refused because every run is a process of its own."""
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SettingsError, match="DATABASE_URL") as error:
        load_settings()
    assert "canary" not in str(error.value)
    assert "postgresql://user:password@host" in str(error.value)


@pytest.mark.parametrize("name", ["password", "passfile", "sslpassword"])
def test_a_password_stands_where_it_is_hidden_or_nowhere(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A URL shown in a message hides the password of its user part, never one in its query."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql:///d?host=/tmp&{name}=canary")
    with pytest.raises(SettingsError, match=f"{name} cannot .* write .* user:password@host") as error:
        load_settings()
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql://h:canary/d", "port is not a number"),
        ("postgresql://user:can@ary:canary@h/d", "port is not a number"),
        ("postgresql://user:can@canary@h/d", "host contains an @"),
        ("postgresql://user:can@9/canary@h/d", "database name contains an @"),
    ],
)
def test_a_malformed_host_or_port_is_said_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, url: str, complaint: str
) -> None:
    """An unquoted @ in a password makes its rest the host or the port, which nobody hides."""
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SettingsError, match=f"{complaint}; write .* with %40 for an @") as error:
        load_settings()
    assert "canary" not in str(error.value)


def test_a_sqlite_file_may_be_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("DATABASE_URL", "sqlite:///~/x.db")
    assert load_settings().database.database == str(tmp_path / "me" / "x.db")


def test_every_bad_setting_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINGECKO_PLAN", "free")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    with pytest.raises(SettingsError, match=r"COINGECKO_PLAN(.|\n)*LOG_LEVEL"):
        load_settings()


def test_a_key_and_a_plan_must_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan cannot be told from the key, and a key on the wrong host is refused by CoinGecko."""
    monkeypatch.setenv("COINGECKO_PLAN", "demo")
    with pytest.raises(SettingsError, match="COINGECKO_PLAN=demo needs COINGECKO_API_KEY"):
        load_settings()
    monkeypatch.setenv("COINGECKO_API_KEY", "CG-canary")
    key = load_settings().coingecko_api_key
    assert key is not None and key.get_secret_value() == "CG-canary"
    monkeypatch.setenv("COINGECKO_PLAN", "keyless")
    with pytest.raises(SettingsError, match="COINGECKO_PLAN is keyless") as error:
        load_settings()
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(("url", "simulated"), [
    ("http://127.0.0.1:8710/api/v3", True), ("http://localhost:1/api", True), ("http://[::1]:1", True),
    ("https://api.coingecko.com/api/v3", False), ("https://proxy.example/coingecko", False),
])
def test_prices_from_this_machine_are_stored_as_simulated(
    monkeypatch: pytest.MonkeyPatch, url: str, simulated: bool
) -> None:
    monkeypatch.setenv("COINGECKO_BASE_URL", url)
    ids = load_settings(None).catalogue.ids
    assert ids["BTC"] == ("simulated:bitcoin" if simulated else "bitcoin")


def test_the_pro_plan_has_a_host_of_its_own_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINGECKO_PLAN", "pro")
    monkeypatch.setenv("COINGECKO_API_KEY", "CG-canary")
    assert load_settings().base_url == "https://pro-api.coingecko.com/api/v3"
    monkeypatch.setenv("COINGECKO_BASE_URL", "http://127.0.0.1:8080/api/v3/")
    assert load_settings().base_url == "http://127.0.0.1:8080/api/v3"


@pytest.mark.parametrize("blank", ["", "  "])
@pytest.mark.parametrize("name", NAMES)
def test_a_blank_variable_is_an_unset_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, blank: str
) -> None:
    """In the environment it still wins over the file, so that a key there can be switched off."""
    defaults = load_settings()
    (tmp_path / ".env").write_text(f"{name}={blank}\n")
    assert load_settings() == defaults
    (tmp_path / ".env").write_text(f"{name}=of the file\n")
    monkeypatch.setenv(name, blank)
    assert load_settings() == defaults


def test_white_space_around_a_value_and_the_case_of_a_word_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key copied from a page often brings a line break, which no header may hold."""
    for name, value in {
        "COINGECKO_PLAN": " Demo ", "COINGECKO_API_KEY": "CG-canary\n", "LOG_LEVEL": "debug ",
        "HISTORY_START": " 2025-05-05", "DATABASE_URL": " sqlite:////srv/x.db\n",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.coingecko_plan, settings.log_level) == ("demo", "DEBUG")
    key = settings.coingecko_api_key
    assert key is not None and key.get_secret_value() == "CG-canary"
    assert settings.history_start == date(2025, 5, 5)
    assert settings.database.database == "/srv/x.db"


def test_an_env_file_of_another_encoding_is_explained(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("LOG_LEVEL=INFO # für alle\n".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"\.env is not UTF-8 text"):
        load_settings()
    (tmp_path / ".env").write_text("LOG_LEVEL=ERROR # für alle\n", encoding="utf-8-sig")
    assert load_settings().log_level == "ERROR"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('LOG_LEVEL=INFO\n\nCOINGECKO_PLAN="demo\nLOG_FORMAT=json\n', "line 3"),
        ("MARKET_SYMBOLS='BTC\nLOG_LEVEL INFO\n", "lines 1, 2"),
    ],
)
def test_a_line_of_the_env_file_that_cannot_be_read_is_named(tmp_path: Path, text: str, where: str) -> None:
    """python-dotenv would skip it with a warning, and the setting with it."""
    (tmp_path / ".env").write_text(text)
    with pytest.raises(SettingsError, match=rf"\.env, {where}: not NAME=value, or a quote"):
        load_settings()


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that even root cannot read")
def test_an_env_file_that_cannot_be_read_is_explained(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to("/proc/self/mem")
    with pytest.raises(SettingsError, match=r"\.env cannot be read: "):
        load_settings()


def test_an_env_file_that_is_a_folder_is_no_file_without_settings(tmp_path: Path) -> None:
    """Docker creates one where a file to mount is absent."""
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError, match=r"\.env cannot be read: Is a directory"):
        load_settings()


def test_settings_survive_the_way_through_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes are given the validated settings, whatever their own .env says."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:pa%40ss@host/market")
    monkeypatch.setenv("HISTORY_START", "2025-05-05")
    settings = load_settings()
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings
    assert load_settings().history_start == date(2025, 5, 5)


def test_an_unset_key_survives_the_way_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("COINGECKO_PLAN=demo\nCOINGECKO_API_KEY=CG-canary\n")
    keyless = load_settings(None)
    for name, value in keyless.as_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == keyless


def test_the_example_file_shows_every_setting_and_loads() -> None:
    example = Path(__file__).parents[1] / ".env.example"
    text = example.read_text()
    assert [name for name in NAMES if f"{name}=" not in text] == []
    assert load_settings(str(example)) == load_settings(None)


def cron_field(rng: random.Random, lowest: int, highest: int) -> str:
    """A field of a cron expression, which may be nonsense."""
    names = {12: ("jan", "MAR", "jan-apr"), 7: ("mon", "SUN", "mon-fri")}.get(highest, ())
    odd = ("L", "LW", "5L", "1#2", "?", "R", "-1", "") if rng.random() < 0.1 else ()

    def value() -> int:
        return rng.choice([lowest, highest, rng.randint(lowest, highest), rng.randint(lowest, highest + 1)])

    def entry() -> str:
        return rng.choice([
            "*", "*", "*", f"*/{rng.randint(0, highest)}", str(value()), f"{value()}-{value()}",
            f"{value()}/{value()}", f"{value()}-{value()}/{rng.randint(1, 4)}", *names, *odd,
        ])

    return ",".join(entry() for _ in range(rng.choice([1, 1, 1, 2])))


def test_an_accepted_cron_expression_means_the_same_to_dagster() -> None:
    """Hundreds of all kinds: Dagster parses with another library than freshness and the search for holes."""
    rng, start, accepted = random.Random(7), datetime(2026, 1, 1, 0, 0, 1, tzinfo=timezone.utc), 0
    for _ in range(600):
        expression = " ".join(cron_field(rng, *limits) for limits in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7)))
        with suppress(ValueError):
            check_cron(expression)
            accepted += 1
            assert is_valid_cron_schedule(expression), expression
            theirs = schedule_execution_time_iterator(start.timestamp(), expression, "UTC", True)
            for ours, other, _ in zip(CronSim(expression, start), theirs, range(3), strict=False):
                assert ours.timestamp() == other.timestamp(), expression
    assert accepted > 20


@pytest.mark.parametrize("expression", [
    "* * * * *", "*/5 * * * *", "0,30 * * * *", "2-59/5 * * * *", "0 9-17 * * mon-fri", "0 0 1,15 1-6/2 0",
])
def test_everyday_cron_expressions_are_accepted(expression: str) -> None:
    assert check_cron(expression) == expression
