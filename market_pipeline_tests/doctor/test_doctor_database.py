"""The database: not there yet, there, not migrated, not reachable; its disk and its clock."""

import os
import shutil
from collections import namedtuple
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from market_pipeline.core.clock import utc_now
from market_pipeline.doctor.context import NotExamined
from market_pipeline.doctor.database import examine_database, examine_database_clock, examine_disk
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import REVISION
from market_pipeline_tests.doctor.examining import Installed, only

Usage = namedtuple("Usage", "total used free")


def test_a_migrated_database_is_ready(database: Database, installed: Installed) -> None:
    url = database.url.render_as_string(hide_password=False)
    context = installed(DATABASE_URL=url)
    diagnosis = only(examine_database, context)
    assert diagnosis.status == "ok" and diagnosis.numbers["revision"] == REVISION
    assert only(examine_database_clock, context).status == "ok"
    context.database.dispose()


@pytest.mark.parametrize(("used", "status"), [(False, "warn"), (True, "fail")])
def test_a_missing_file_is_a_failure_only_where_something_has_run(
    used: bool, status: str, installed: Installed, tmp_path: Path
) -> None:
    """Opening the file would create it, empty, without a word about what was lost."""
    if used:
        (tmp_path / ".dagster_home" / "history").mkdir(parents=True)
    diagnosis = only(examine_database, installed())
    assert diagnosis.status == status and ("Restore the file" in diagnosis.remedy) is used
    assert not (tmp_path / "prices.db").exists()


def test_tables_that_are_not_migrated_say_what_to_run(
    installed: Installed, tmp_path: Path, empty_postgres_url: URL
) -> None:
    (tmp_path / "empty.db").touch()
    for url in (make_url(f"sqlite:///{tmp_path / 'empty.db'}"), empty_postgres_url):
        context = installed(DATABASE_URL=url.render_as_string(hide_password=False))
        diagnosis = only(examine_database, context)
        assert diagnosis.status == "fail" and "market-pipeline migrate" in diagnosis.remedy
        with pytest.raises(NotExamined, match="database"):
            assert context.database


@pytest.mark.parametrize(("url", "complaint"), [
    ("sqlite:////nowhere/at/all.db", "/nowhere/at"),
    ("sqlite:///text.db", "text.db"),
    ("postgresql://market:canary@127.0.0.1:9/market", "127.0.0.1:9 cannot be reached"),
])
def test_what_cannot_be_opened_fails_without_the_password(
    url: str, complaint: str, installed: Installed, tmp_path: Path
) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to be read as the header of one" * 9)
    diagnosis = only(examine_database, installed(DATABASE_URL=url))
    assert diagnosis.status == "fail" and complaint in diagnosis.detail
    assert "canary" not in str(diagnosis)


@pytest.mark.parametrize(("closed", "exists"), [("folder", True), ("folder", False), ("folder/prices.db", True)])
def test_what_this_user_may_not_write_fails(
    closed: str, exists: bool, installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everywhere, so the system's answer is replaced."""
    file = tmp_path / "folder" / "prices.db"
    file.parent.mkdir()
    if exists:
        file.touch()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / closed)
    diagnosis = only(examine_database, installed(DATABASE_URL=f"sqlite:///{file}"))
    assert diagnosis.status == "fail" and "cannot write" in diagnosis.detail


@pytest.mark.parametrize(("free", "status"), [(50e9, "ok"), (0.5e9, "warn"), (1e6, "fail")])
def test_free_space_on_the_disk(
    free: float, status: str, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk cannot be had in a test, so the system's answer is replaced."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(100e9, 0, int(free)))
    diagnosis = only(examine_disk, installed())
    assert (diagnosis.status, diagnosis.numbers) == (status, {"free_bytes": int(free)})


def test_a_log_that_grows_behind_a_reader_is_named(installed: Installed, tmp_path: Path) -> None:
    wal = tmp_path / "prices.db-wal"
    wal.touch()
    os.truncate(wal, 2_000_000_000)
    disk, log = examine_disk(installed())
    assert disk.name == "disk space"
    assert (log.status, log.numbers) == ("warn", {"wal_bytes": 2_000_000_000}) and f"lsof {wal}" in log.remedy


def test_a_disk_that_cannot_be_seen_is_not_examined(installed: Installed) -> None:
    assert only(examine_disk, installed(DATABASE_URL="sqlite:////nowhere/at/all.db")).because_of == "database"
    assert list(examine_disk(installed(DATABASE_URL="postgresql://market@db.example.org/market"))) == []


@pytest.mark.parametrize(("ahead", "status"), [(30, "warn"), (-30, "warn"), (300, "fail")])
def test_a_clock_that_is_off_is_found(
    ahead: float, status: str, postgres_database: Database, installed: Installed
) -> None:
    context = installed(postgres_database)
    context.clock = lambda: utc_now() + timedelta(seconds=ahead)
    diagnosis = only(examine_database_clock, context)
    assert diagnosis.status == status
    assert diagnosis.numbers["skew_seconds"] == pytest.approx(ahead, abs=2)
