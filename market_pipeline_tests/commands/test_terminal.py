"""What a person at a terminal reads of `run`, `demo` and `serve`; the words are in the file of all sentences."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from market_pipeline.commands.children.processes import Processes
from market_pipeline.commands.ports import free_port
from market_pipeline.commands.terminal.face import Banner, LogFile, face_of
from market_pipeline.commands.terminal.screen import Screen
from market_pipeline.core.clock import utc_now
from market_pipeline.logs import configure_logging, get_logger, write_line
from market_pipeline.settings import Settings
from market_pipeline_tests.commands.hearing import BEGIN, PAST, Session, request

CHILD = (
    "import json, os; print(json.dumps({'timestamp': '2026-11-23T12:00:00Z', 'level': 'INFO',"
    "'logger': 'dagster.daemon', 'message': 'chatter'}));"
    "print('Traceback (most recent call last)\\n  x\\nValueError: a bug', flush=True);"
    "os.kill(os.getpid(), 9)"
)


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Let standard error be a terminal; not in a fixture, after which pytest puts its own stream there."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    return stream


def plain(text: str) -> str:
    """`text` without colours and the movements of the last line."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.parametrize("log_format", ["auto", "json"])
def test_a_person_reads_what_matters_and_the_file_has_every_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log_format: str
) -> None:
    terminal = terminal_of(monkeypatch)
    settings = Settings(_env_file=None, log_format=log_format)
    configure_logging(settings)
    with face_of(settings, tmp_path / "run.log") as face:
        get_logger("market_pipeline.x").warning("The plan has too few credits.")
        face.announce(Banner("It runs.", [("Full log", str(face.log))], []))
        with Processes() as processes:
            face.start(processes, [sys.executable, "-c", CHILD], os.environ, tmp_path, "api")
            assert face.wait(processes).exit_code == 137
    shown = plain(terminal.getvalue())
    if log_format == "json":
        assert not (tmp_path / "run.log").exists()
        assert all(row.startswith("{") for row in shown.splitlines())
        return
    assert "WARNING  The plan has too few credits." in shown and "It runs." in shown and "Stopped." in shown
    assert "ERROR  The API was killed by SIGKILL, so everything is stopped." in shown and "`dmesg`" in shown
    assert "ValueError: a bug" in shown
    assert "chatter" not in shown and "Traceback" not in shown and "{" not in shown
    stored = [json.loads(line) for line in (tmp_path / "run.log").read_text().splitlines()]
    assert {"chatter", "ValueError: a bug"} <= {line["message"] for line in stored}
    assert any("Traceback" in line.get("exc_info", "") for line in stored)


def test_commands_without_a_face_say_sentences_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    configure_logging(Settings(_env_file=None))
    logger = get_logger("market_pipeline.x")
    logger.info("Database is at revision 5", extra={"database": "x"})
    try:
        raise ValueError("a bug\x1b[2J")
    except ValueError:
        logger.exception("Uncaught error")
    rows = plain(terminal.getvalue()).splitlines()
    assert rows[:2] == ["Database is at revision 5", "Error: Uncaught error: ValueError: a bug\\x1b[2J"]
    assert rows[2].startswith("    Traceback"), "the last thing to look at"


def test_the_last_line_says_what_is_filled_and_counts_down() -> None:
    session = Session()
    assert session.narrator.doing() == ""
    session.hear(event="RUN_START", run_id="r", job="complete_days", partition=PAST)
    session.hear(**request(), run_id="r")
    assert session.narrator.doing() == "Filling 2026-08-25 to 2026-11-22: 1 of 2 requests"
    session.hear(run_id="r", wait_seconds=12.4, wait_for="minute budget")
    assert session.narrator.doing().endswith(", minute budget: next request in 12 s")
    session.now = BEGIN + timedelta(seconds=10)
    assert session.narrator.doing().endswith("next request in 2 s")
    session.now += timedelta(seconds=10)
    assert session.narrator.doing() == "Filling 2026-08-25 to 2026-11-22: 1 of 2 requests"
    session.hear(event="RUN_SUCCESS", run_id="r", job="complete_days")
    assert session.narrator.doing() == "" and session.narrator.history_changed


def test_the_log_file_is_bounded_and_a_full_disk_stops_nothing(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "run.log", largest=1_000)
    for number in range(200):
        log.write(f"{number:03} {'x' * 90}")
    log.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 5 and all(file.stat().st_size <= 1_000 for file in files)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / "run.log").read_text().endswith(f"199 {'x' * 90}\n")
    for path, trouble in ((tmp_path / "nowhere" / "run.log", "No such file or directory"),
                          (Path("/dev/full"), "No space left on device")):
        broken = LogFile(path)
        for _ in range(2):
            broken.write("lost")
            assert broken.trouble == trouble
        broken.close()


def test_a_line_of_a_child_with_other_fields_ends_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    terminal_of(monkeypatch)
    settings = Settings(_env_file=None)
    configure_logging(settings)
    head = {"timestamp": "2026-11-23T12:00:00Z", "level": "INFO", "logger": "other", "message": "x"}
    with face_of(settings, tmp_path / "run.log"):
        write_line({**head, "wait_seconds": "soon"})
    assert '"soon"' in (tmp_path / "run.log").read_text()


def test_text_from_elsewhere_cannot_control_the_terminal() -> None:
    written = io.StringIO()
    screen = Screen(Console(file=written, width=100))
    screen.say(utc_now(), "a \x1b]0;title\x07 b \x9b2J \u202e c", "\x1b[1mx", below=["\x1b[2J"])
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", written.getvalue())
    assert r"a \x1b]0;title\x07 b \x9b2J \u202e c" in written.getvalue()


def test_a_terminal_that_cannot_move_its_cursor_gets_lines_only() -> None:
    stream = io.StringIO()
    screen = Screen(Console(file=stream, force_terminal=True, _environ={"TERM": "dumb"}, width=80))
    screen.show(lambda: "waiting")
    screen.say(BEGIN, "a line", "watch", "yellow", ["http://127.0.0.1:3000/runs/x"])
    screen.close()
    assert stream.getvalue().splitlines()[0].rstrip() == "12:00  WATCH  a line" and "\x1b[" not in stream.getvalue()


@pytest.mark.slow
def test_serve_speaks_to_a_real_terminal(project: Path) -> None:
    terminal, other = pty.openpty()
    port = free_port()
    command = [sys.executable, "-m", "market_pipeline.commands.main", "serve", "--port", str(port)]
    environment = {**os.environ, "TERM": "xterm", "DATABASE_URL": "sqlite:///mine.db", "LOG_LEVEL": "INFO"}
    process = subprocess.Popen(command, cwd=project, env=environment, stdin=other, stdout=other, stderr=other)
    os.close(other)
    shown, deadline = b"", time.monotonic() + 120
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            part = os.read(terminal, 65_536)
        except OSError:
            # Linux says so at the end of a terminal whose last process has closed it.
            break
        if not part:
            break
        if b"Ctrl-C" not in shown and b"Ctrl-C" in shown + part:
            process.send_signal(signal.SIGINT)
        shown += part
    assert process.wait(60) == 0
    os.close(terminal)
    text = plain(shown.decode())
    assert f"http://127.0.0.1:{port}/docs" in text and str(project / ".dagster_home" / "serve.log") in text
    assert "Stopping; " in text and text.rstrip().endswith("Stopped.") and "Traceback" not in text and '{"' not in text
