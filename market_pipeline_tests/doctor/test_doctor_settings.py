"""Settings: valid or not, where they come from, what is misspelt, and never a secret."""

import os

import pytest

from market_pipeline.doctor.context import DoctorContext, NotExamined
from market_pipeline.doctor.settings import examine_settings


def findings(tmp_path):
    subject = DoctorContext(tmp_path, dict(os.environ))
    return subject, list(examine_settings(subject))


def test_nothing_set_is_valid_by_default(tmp_path):
    subject, (finding,) = findings(tmp_path)
    assert finding.status == "ok"
    assert "plan keyless (no key)" in finding.detail and "all by default" in finding.detail
    assert subject.settings is not None


def test_each_setting_is_said_to_come_from_where_it_does(tmp_path, monkeypatch):
    """The environment wins over the file, even with a variable that is set to nothing."""
    (tmp_path / ".env").write_text("LOG_LEVEL=ERROR\nCOLLECT_CRON=*/7 * * * *\nHISTORY_START=2026-02-01\n")
    monkeypatch.setenv("COLLECT_CRON", "*/9 * * * *")
    monkeypatch.setenv("LOG_LEVEL", "")
    subject, (finding,) = findings(tmp_path)
    assert finding.detail.endswith("from the environment: COLLECT_CRON; from .env: HISTORY_START")
    assert (subject.settings.collect_cron, subject.settings.log_level) == ("*/9 * * * *", "INFO")


@pytest.mark.parametrize(("password", "warned"), [("abc", True), ("abcd", False)])
def test_a_password_too_short_to_hide_is_warned_of(tmp_path, monkeypatch, password, warned):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{password}@host/prices")
    _, found = findings(tmp_path)
    assert ["the password in DATABASE_URL" in finding.detail for finding in found[1:]] == [True] * warned


def test_what_is_invalid_fails_with_what_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setenv("COINGECKO_PLAN", "free")
    subject, (finding,) = findings(tmp_path)
    assert finding.status == "fail"
    assert "COINGECKO_PLAN='free': allowed are keyless, demo, pro" in finding.detail
    with pytest.raises(NotExamined):
        assert subject.settings


def test_key_and_password_are_masked_and_known_as_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("COINGECKO_PLAN", "demo")
    monkeypatch.setenv("COINGECKO_API_KEY", "canary-key")
    monkeypatch.setenv("DATABASE_URL", "postgresql://market:canary-word@127.0.0.1/market")
    subject, (finding,) = findings(tmp_path)
    assert finding.numbers["coingecko_api_key"] == "set"
    assert finding.numbers["database_url"] == "postgresql+psycopg2://market:***@127.0.0.1/market"
    assert "canary" not in str(finding)
    assert subject.secrets == ["canary-key", "canary-word"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("COINGEKO_PLAN", "COINGECKO_PLAN"), ("colect_cron", "COLLECT_CRON"), ("DATABASE_URI", "DATABASE_URL")],
)
def test_a_misspelt_setting_is_named_with_the_likely_one(tmp_path, written, meant):
    (tmp_path / ".env").write_text(f"{written}=canary\n")
    _, (_, finding) = findings(tmp_path)
    assert finding.status == "warn"
    assert finding.numbers == {"unknown": written.upper(), "likely": meant}
    assert "canary" not in str(finding)


def test_a_variable_of_another_program_is_left_alone(tmp_path):
    (tmp_path / ".env").write_text("DAGSTER_HOME=/srv/dagster\nEDITOR=vi\ncollect_cron=*/5 * * * *\n")
    _, found = findings(tmp_path)
    assert [finding.status for finding in found] == ["ok"]


def test_a_file_that_is_no_text_is_one_failure(tmp_path):
    (tmp_path / ".env").write_bytes(b"LOG_LEVEL=\xff\n")
    _, (finding,) = findings(tmp_path)
    assert finding.status == "fail" and "is not UTF-8 text" in finding.detail
