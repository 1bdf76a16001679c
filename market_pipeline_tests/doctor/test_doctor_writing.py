"""Runner and writers: nothing raises, nothing waits for ever, no secret passes, columns are aligned."""

import json
import threading
from datetime import datetime, timedelta, timezone

import pytest

from market_pipeline.core.wording import first_line, some, span
from market_pipeline.doctor.context import Diagnosis, fail, not_examined, ok, warn
from market_pipeline.doctor.report import Group, RunningGroup, Report, as_json, as_text, masked

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
REPORT = Report(NOON, [
    ok("settings", "plan keyless"),
    warn("database", "prices.db does not exist yet", "`market-pipeline run` creates it."),
    fail("api", "word " * 40, "do " * 40, latency_ms=3.5),
])


def broken(subject):
    raise OSError("the disk is gone\nand more")


def test_an_examination_that_raises_is_a_finding_and_the_next_is_made(subject):
    group = Group(30.0, "It", [("first", broken), ("second", lambda subject: [ok("second", "fine")])])
    first, second = RunningGroup(group, subject).result()
    assert first.status == "fail" and first.detail == "this could not be examined: OSError: the disk is gone"
    assert second.status == "ok"


def test_an_examination_that_hangs_is_a_finding_and_so_are_those_after_it(subject):
    release = threading.Event()
    group = Group(0.2, "The server", [
        ("first", lambda subject: [ok("first", "fine")]),
        ("second", lambda subject: release.wait(60) and []),
        ("third", lambda subject: []),
    ])
    first, second, third = RunningGroup(group, subject).result()
    release.set()
    assert first.status == "ok"
    assert second.status == "fail" and second.name == "second" and "no answer within" in second.detail
    assert second.remedy.startswith("The server does not answer")
    assert third.status == "warn" and third.detail == "not examined, because of: second"


def test_the_text_is_aligned_and_keeps_its_width():
    lines = as_text(REPORT, width=80, coloured=False).splitlines()
    assert lines[0] == "ok    settings  plan keyless"
    assert lines[1] == "warn  database  prices.db does not exist yet"
    assert lines[2] == "                -> `market-pipeline run` creates it."
    assert lines[3].startswith("fail  api       word word")
    assert max(len(line) for line in lines) <= 80
    assert lines[-1] == "1 fail, 1 warn, 1 ok"


def test_what_was_not_examined_is_one_line_for_each_cause():
    kept = [not_examined("gaps", "database"), ok("disk", "fine"), not_examined("budget", "database")]
    lines = as_text(Report(NOON, [*kept, not_examined("clock", "api")]), 80, False).splitlines()
    assert lines == [
        "ok    disk          fine",
        "warn  not examined  because of 'database': gaps, budget",
        "warn  not examined  because of 'api': clock",
        "",
        "3 not examined, 1 ok",
    ]


def test_colours_are_only_around_the_status():
    plain, coloured = as_text(REPORT, 80, False), as_text(REPORT, 80, True)
    assert "\033" not in plain
    for code in ("\033[31m", "\033[32m", "\033[33m", "\033[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain


def test_the_document_holds_everything():
    document = json.loads(as_json(REPORT))
    assert (document["status"], document["examined_at"]) == ("fail", "2026-05-01T12:00:00Z")
    assert [finding["status"] for finding in document["findings"]] == ["ok", "warn", "fail"]
    assert document["findings"][2]["numbers"] == {"latency_ms": 3.5}
    assert document["findings"][1]["remedy"] == "`market-pipeline run` creates it."


def test_the_worst_finding_is_the_status_of_all():
    assert Report(NOON, []).status == "ok"
    assert Report(NOON, REPORT.diagnoses[:2]).status == "warn"


@pytest.mark.parametrize("text", [
    "driver says: password canary1",
    "postgresql://user:canary2@host/db is down",
    "key CG-canary3abc is unknown",
])
def test_secrets_are_blotted_out_wherever_they_are(text):
    finding = masked(Diagnosis("x", "fail", text, text, {"what": text, "count": 3}), ["canary1", ""])
    assert "canary" not in str(finding)
    assert finding.numbers["count"] == 3 and "[hidden]" in finding.detail


@pytest.mark.parametrize(("seconds", "text"), [
    (0.25, "0.2 s"), (12, "12 s"), (119, "119 s"), (300, "5 min"), (7200, "2 h"), (259_200, "3 days"),
])
def test_durations_are_told_in_their_largest_unit(seconds, text):
    assert span(seconds) == span(timedelta(seconds=seconds)) == text


def test_long_lists_are_cut_and_empty_messages_told():
    assert some("abcdef", 2) == "a, b and 4 more"
    assert some("ab") == "a, b"
    assert (first_line("\n  why \nmore"), first_line("")) == ("why", "no message")
