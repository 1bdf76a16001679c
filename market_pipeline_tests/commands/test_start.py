"""What a command warns of before it begins."""

import json

import pytest

from market_pipeline.commands.main import main
from market_pipeline.commands.start import warn_of_cost
from market_pipeline.settings import load_settings
from market_pipeline_tests.logging_state import restored


@pytest.fixture(autouse=True)
def new_database(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'new.db'}")


def test_a_misspelt_variable_is_a_warning(monkeypatch, capsys, tmp_path):
    (tmp_path / ".env").write_text("COLECT_CRON=canary\n")
    monkeypatch.setenv("COINGECKO_PLAM", "canary")
    with restored():
        assert main(["migrate"]) == 0
    *lines, _ = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("WARNING", "COINGECKO_PLAM in the environment is not a setting and is ignored; COINGECKO_PLAN is one. "
                    "Write COINGECKO_PLAN if you mean that."),
        ("WARNING", "COLECT_CRON in .env is not a setting and is ignored; COLLECT_CRON is one. "
                    "Write COLLECT_CRON if you mean that."),
    ]


def test_a_misspelt_variable_is_named_with_the_error_that_it_causes(monkeypatch, capsys):
    monkeypatch.setenv("COINGECKO_API_KEY", "CG-canary")
    monkeypatch.setenv("COINGECKO_PLAM", "demo")
    assert main(["migrate"]) == 2
    said = capsys.readouterr().err
    assert "COINGECKO_PLAN is keyless" in said and "COINGECKO_PLAM in the environment is not a setting" in said
    assert "canary" not in said


@pytest.mark.parametrize(("cron", "warned"), [("* * * * *", True), ("0 * * * *", False)])
def test_a_schedule_that_the_plan_cannot_pay_for_is_a_warning(caplog, sqlite_database, cron, warned):
    settings = load_settings(None, coingecko_plan="demo", coingecko_api_key="CG-x", collect_cron=cron)
    warn_of_cost(settings, sqlite_database)
    assert ("the plan has 10,000 credits" in caplog.text and "COLLECT_CRON='" in caplog.text) is warned
