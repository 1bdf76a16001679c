"""Settings: valid or not, where they come from, what is misspelt, and never a secret."""

import os
from pathlib import Path

import pytest

from market_pipeline.doctor.context import Diagnosis, DoctorContext, NotExamined
from market_pipeline.doctor.settings import examine_settings


def examined(folder: Path) -> tuple[DoctorContext, list[Diagnosis]]:
    """What is found about the settings themselves; the number of partitions has its own tests."""
    context = DoctorContext(folder, dict(os.environ))
    return context, [found for found in examine_settings(context) if found.name != "partitions"]


def test_each_setting_is_shown_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins over the file, even with a variable that is set to nothing."""
    _, (default,) = examined(tmp_path)
    assert default.status == "ok" and "plan keyless (no key)" in default.detail
    assert default.detail.endswith("; all by default")
    (tmp_path / ".env").write_text("LOG_LEVEL=ERROR\nCOLLECT_CRON=*/7 * * * *\nHISTORY_START=2026-02-01\n")
    monkeypatch.setenv("COLLECT_CRON", "*/9 * * * *")
    monkeypatch.setenv("LOG_LEVEL", "")
    context, (diagnosis,) = examined(tmp_path)
    assert diagnosis.detail.endswith("; from the environment: COLLECT_CRON; from .env: HISTORY_START")
    assert (context.settings.collect_cron, context.settings.log_level) == ("*/9 * * * *", "INFO")


@pytest.mark.parametrize(("password", "warned"), [("abc", True), ("abcd", False)])
def test_a_password_too_short_to_hide_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, warned: bool
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{password}@host/prices")
    _, found = examined(tmp_path)
    assert ["the password in DATABASE_URL" in diagnosis.detail for diagnosis in found[1:]] == [True] * warned


def test_what_is_invalid_fails_with_what_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINGECKO_PLAN", "free")
    context, (diagnosis,) = examined(tmp_path)
    assert diagnosis.status == "fail"
    assert "COINGECKO_PLAN='free': allowed are keyless, demo, pro" in diagnosis.detail
    with pytest.raises(NotExamined, match="settings"):
        assert context.settings
    monkeypatch.delenv("COINGECKO_PLAN")
    (tmp_path / ".env").write_bytes(b"LOG_LEVEL=\xff\n")
    _, (diagnosis,) = examined(tmp_path)
    assert diagnosis.status == "fail" and "is not UTF-8 text" in diagnosis.detail


def test_key_and_password_are_masked_and_known_as_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINGECKO_PLAN", "demo")
    monkeypatch.setenv("COINGECKO_API_KEY", "canary-key")
    monkeypatch.setenv("DATABASE_URL", "postgresql://market:canary-word@127.0.0.1/market")
    context, (diagnosis,) = examined(tmp_path)
    assert diagnosis.numbers["coingecko_api_key"] == "set"
    assert diagnosis.numbers["database_url"] == "postgresql+psycopg2://market:***@127.0.0.1/market"
    assert "canary" not in str(diagnosis)
    assert context.secrets == ["canary-key", "canary-word"]


@pytest.mark.parametrize(("file", "likely"), [
    ("COINGEKO_PLAN=canary", "COINGECKO_PLAN"),
    ("colect_cron=canary", "COLLECT_CRON"),
    ("DATABASE_URI=canary", "DATABASE_URL"),
    ("DAGSTER_HOME=/srv/dagster\nEDITOR=vi\ncollect_cron=*/5 * * * *", None),
])
def test_a_misspelt_setting_is_named_with_the_likely_one(tmp_path: Path, file: str, likely: str | None) -> None:
    (tmp_path / ".env").write_text(file)
    _, (_, *found) = examined(tmp_path)
    unknown = file.partition("=")[0].upper()
    expected = [{"unknown": unknown, "likely": likely}] if likely else []
    assert [dict(diagnosis.numbers) for diagnosis in found] == expected
    assert "canary" not in str(found)
