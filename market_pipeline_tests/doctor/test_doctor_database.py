"""The database: not there yet, there, not migrated, not reachable; its room and its clock."""

import os
import shutil
from collections import namedtuple
from datetime import timedelta

import pytest
from sqlalchemy.engine import make_url

from market_pipeline.core.clock import utc_now
from market_pipeline.doctor.database import examine_database, examine_database_clock, examine_disk
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import REVISION

Usage = namedtuple("Usage", "total used free")


def test_a_migrated_database_is_ready(database, set_up, only):
    subject = set_up(database)
    subject.database = None
    finding = only(examine_database, subject)
    assert finding.status == "ok" and finding.numbers["revision"] == REVISION
    assert subject.database is not None
    subject.database.dispose()


def test_a_file_that_is_not_there_yet_is_no_failure_and_is_not_created(set_up, only, tmp_path):
    """The state of a fresh clone: opening the file would create it, empty."""
    finding = only(examine_database, set_up())
    assert finding.status == "warn" and "`market-pipeline run` creates it" in finding.remedy
    assert not (tmp_path / "prices.db").exists()


def test_a_file_that_is_gone_is_a_failure(set_up, only, tmp_path):
    """Something has run here: `market-pipeline run` would begin anew without a word of what was lost."""
    (tmp_path / ".dagster_home" / "history").mkdir(parents=True)
    finding = only(examine_database, set_up())
    assert finding.status == "fail" and "has run here before" in finding.detail
    assert "Restore the file or correct DATABASE_URL" in finding.remedy
    assert not (tmp_path / "prices.db").exists()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_tables_that_are_not_migrated_say_what_to_run(kind, set_up, only, tmp_path, request):
    url = make_url(f"sqlite:///{tmp_path / 'empty.db'}")
    if kind == "postgresql":
        url = request.getfixturevalue("empty_postgres_url")
    else:
        (tmp_path / "empty.db").touch()
    subject = set_up(Database(url))
    subject.database = None
    finding = only(examine_database, subject)
    assert finding.status == "fail" and "market-pipeline migrate" in finding.remedy
    assert subject.database is None


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("sqlite:////nowhere/at/all.db", "the folder /nowhere/at of the SQLite file does not exist"),
        ("postgresql://market:canary@127.0.0.1:9/market", "127.0.0.1:9 cannot be reached"),
    ],
)
def test_what_cannot_be_reached_fails_without_the_password(url, complaint, set_up, only):
    finding = only(examine_database, set_up(DATABASE_URL=url))
    assert finding.status == "fail" and complaint in finding.detail
    assert "canary" not in str(finding)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("closed", ["folder", "file"])
def test_what_this_user_may_not_write_fails(closed, set_up, only, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "prices.db"
    file.touch()
    (folder if closed == "folder" else file).chmod(0o500)
    finding = only(examine_database, set_up(DATABASE_URL=f"sqlite:///{file}"))
    folder.chmod(0o700)
    assert finding.status == "fail" and "cannot be written" in finding.detail


def test_a_file_that_is_no_database_fails(set_up, only, tmp_path):
    (tmp_path / "text.db").write_text("not a database, but long enough to be read as the header of one" * 9)
    finding = only(examine_database, set_up(DATABASE_URL=f"sqlite:///{tmp_path / 'text.db'}"))
    assert finding.status == "fail" and "text.db" in finding.detail


@pytest.mark.parametrize(("free", "status"), [(50e9, "ok"), (0.5e9, "warn"), (1e6, "fail")])
def test_room_on_the_disk(free, status, set_up, only, monkeypatch):
    """A full disk cannot be had in a test; what the system would say of one is given instead."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(100e9, 0, int(free)))
    assert only(examine_disk, set_up()).status == status


def test_a_log_that_grows_behind_a_reader_is_named(set_up, tmp_path):
    assert [finding.name for finding in examine_disk(set_up())] == ["disk space"]
    wal = tmp_path / "prices.db-wal"
    wal.touch()
    os.truncate(wal, 2_000_000_000)
    finding = list(examine_disk(set_up()))[-1]
    assert (finding.status, finding.numbers["wal_bytes"]) == ("warn", 2_000_000_000)
    assert f"{wal} has grown to 2.0 GB" in finding.detail and "lsof" in finding.remedy


def test_the_disk_of_a_server_is_not_ours_to_examine(set_up):
    assert list(examine_disk(set_up(DATABASE_URL="postgresql://market@db.example.org/market"))) == []


def test_the_clock_of_the_database_agrees(database, set_up, only):
    assert only(examine_database_clock, set_up(database)).status == "ok"


@pytest.mark.parametrize(("ahead", "status"), [(30, "warn"), (-30, "warn"), (300, "fail")])
def test_a_clock_that_is_off_is_found(ahead, status, postgres_database, set_up, only):
    subject = set_up(postgres_database)
    subject.clock = lambda: utc_now() + timedelta(seconds=ahead)
    finding = only(examine_database_clock, subject)
    assert finding.status == status
    assert finding.numbers["skew_seconds"] == pytest.approx(ahead, abs=2)


@pytest.mark.parametrize("examination", [examine_database, examine_disk, examine_database_clock])
def test_without_settings_it_is_said_that_nothing_was_examined(examination, subject, only):
    finding = only(examination, subject)
    assert finding.status == "warn" and "not examined" in finding.detail


def test_no_room_is_looked_for_in_a_folder_that_is_not_there(set_up, only):
    finding = only(examine_disk, set_up(DATABASE_URL="sqlite:////nowhere/at/all.db"))
    assert "not examined, because of: database" in finding.detail
