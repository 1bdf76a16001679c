"""The output of real child processes, passed on while they live and to the last row when they end."""

import io
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time

import pytest

from market_pipeline.commands.children import relayed
from market_pipeline.commands.children.processes import Processes
from market_pipeline.commands.children.relay import Relay
from market_pipeline.logs import log_to_stderr
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.canaries import KEY, PASSWORD, heard
from market_pipeline_tests.logging_state import restored

OWN = (
    "import json; own = lambda **f: "
    "print(json.dumps({'timestamp': 't', 'level': 'INFO', 'logger': 'l', **f}), flush=True);"
)


@pytest.fixture
def written(capsys):
    """What was relayed so far, as text."""
    heard_so_far = []

    def read():
        heard_so_far.append(capsys.readouterr().err)
        return "".join(heard_so_far)

    with restored():
        logging.getLogger().handlers[:] = []
        log_to_stderr("INFO", "json", [KEY, PASSWORD])
        yield read


def run(code, folder):
    with Processes() as processes:
        processes.start([sys.executable, "-c", code], os.environ, folder, relayed_as="child")
        assert processes.wait_for_any() == 0


def messages(text):
    lines = [json.loads(row) for row in text.splitlines()]
    return [line["message"] for line in lines if line["logger"] != "market_pipeline.commands.children.processes"]


def test_every_row_arrives_also_what_comes_last_without_an_end(written, tmp_path):
    code = OWN + "[own(message=str(n), pad='x' * 2000) for n in range(2000)]; print('the end', end='', flush=True)"
    run(code, tmp_path)
    assert messages(written()) == [*map(str, range(2000)), "the end"]


def test_a_row_is_passed_on_at_once_and_text_after_a_moment(written, tmp_path):
    code = OWN + "import time; own(message='line'); print('text', flush=True); time.sleep(60)"
    with Processes() as processes:
        processes.start([sys.executable, "-c", code], os.environ, tmp_path, relayed_as="child")
        wait_for(lambda: messages(written()) == ["line", "text"], 20, "the relaying of both")


def test_both_streams_and_those_of_grandchildren_are_relayed(written, tmp_path):
    code = (
        "import subprocess, sys; print('out', flush=True); sys.stderr.write('err\\n');"
        "subprocess.run([sys.executable, '-c', 'raise ValueError(5)'])"
    )
    run(code, tmp_path)
    assert messages(written()) == ["out", "err", "ValueError: 5"]


def test_secrets_of_others_are_hidden(written, tmp_path):
    secret = json.dumps([KEY, PASSWORD])
    code = OWN + f"s = {secret}; own(message=s[0], deep={{'a': s}}); print(s); raise ValueError(s[1])"
    with Processes() as processes:
        processes.start([sys.executable, "-c", code], os.environ, tmp_path, relayed_as="child")
        assert processes.wait_for_any() == 1
    assert heard("relayed", written()) == [] and written().count("[hidden]") >= 5


def test_on_a_terminal_all_of_it_is_readable(written, tmp_path):
    log_to_stderr("INFO", "console")
    run(OWN + "own(message='hello', n=5); print('text')", tmp_path)
    rows = written().splitlines()
    assert rows[0] == "t INFO    l hello n=5" and rows[1].endswith(" INFO    child text")


def test_bytes_that_are_no_text_are_shown(written, tmp_path):
    run("import sys; sys.stdout.buffer.write(b'\\xff\\n')", tmp_path)
    assert messages(written()) == ["\\xff"]


def test_what_is_said_on_the_way_out_is_heard(written, tmp_path):
    code = (
        "import signal, sys, time\ndef end(number, frame):\n    print('bye', flush=True)\n    sys.exit(0)\n"
        "signal.signal(signal.SIGINT, end)\nopen('ready', 'w').close()\ntime.sleep(60)"
    )
    with Processes() as processes:
        processes.start([sys.executable, "-c", code], os.environ, tmp_path, relayed_as="child")
        wait_for((tmp_path / "ready").exists, 20, "its start")
        signal.raise_signal(signal.SIGTERM)
    assert messages(written()) == ["bye"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_terminal_that_is_gone_stops_nothing_from_ending(written, tmp_path, monkeypatch, number):
    """The child writes more than a pipe holds, so somebody has to go on reading."""

    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(5, "Input/output error")

    code = "open('ready', 'w').close()\nwhile True: print('x' * 1000, flush=True)"
    monkeypatch.setattr("sys.stderr", Gone())
    with Processes() as processes:
        child = processes.start([sys.executable, "-c", code], os.environ, tmp_path, relayed_as="child")
        wait_for((tmp_path / "ready").exists, 20, "its start")
        time.sleep(0.3)
        signal.raise_signal(number)
    assert child.returncode is not None


@pytest.mark.slow
def test_a_reader_that_stands_still_keeps_nothing_from_ending(tmp_path):
    """Everybody who writes waits for it, so nobody must be waited for."""
    code = "import os; open('child', 'w').write(str(os.getpid()))\nwhile True: print('x' * 1000, flush=True)"
    command = [sys.executable, "-m", "market_pipeline.commands.children.relayed", sys.executable, "-c", code]
    reader, writer = os.pipe()
    process = subprocess.Popen(command, cwd=tmp_path, stderr=writer)
    os.close(writer)
    wait_for(lambda: select.select([reader], [], [], 0)[0], 20, "its first line")
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    os.close(reader)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "child").read_text()), 0)


def test_a_process_that_lives_on_is_not_waited_for(monkeypatch, written):
    """One that left the group, say, and still holds the pipe."""
    monkeypatch.setattr("market_pipeline.commands.children.relay._DRAIN_SECONDS", 0.2)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.PIPE)
    relay = Relay(child.stdout, "child")
    relay.drain()
    assert child.poll() is None
    child.kill()
    child.wait()
    relay.drain()


def test_without_relay_a_child_has_our_streams(tmp_path, capfd):
    with Processes() as processes:
        processes.start([sys.executable, "-c", "print('plain')"], os.environ, tmp_path)
        processes.wait_for_any()
    assert capfd.readouterr().out == "plain\n"


def test_the_code_of_a_relayed_command_is_told(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert relayed.main([sys.executable, "-c", "print('text'); raise SystemExit(3)"]) == 3
    assert messages(written()) == ["text"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_any_command_can_be_relayed_on_a_server(tmp_path, log_format):
    code = OWN + "import os; own(message=os.environ['LOG_FORMAT']); print('text'); raise SystemExit(3)"
    command = [sys.executable, "-m", "market_pipeline.commands.children.relayed", sys.executable, "-c", code]
    environment = {**os.environ, "LOG_FORMAT": log_format, "DATABASE_URL": "sqlite:///x.db"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and done.stdout == ""
    if log_format == "json":
        assert messages(done.stderr) == ["json", "text"]
    else:
        assert done.stderr.startswith("t INFO    l json\n") and " text\n" in done.stderr


def test_a_relayed_command_ends_with_its_supervisor(tmp_path):
    code = "import time; open('ready', 'w').close(); time.sleep(60)"
    command = [sys.executable, "-m", "market_pipeline.commands.children.relayed", sys.executable, "-c", code]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / "ready").exists, 20, "its start")
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in told
