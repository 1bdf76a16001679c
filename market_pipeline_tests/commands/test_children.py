"""Children that end with their parent, whatever ends it, and whose output is relayed to the last row.

Tiny processes take the place of Dagster's.
"""

import io
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from market_pipeline.commands.children import relayed
from market_pipeline.commands.children.processes import End, Processes
from market_pipeline.commands.children.relay import Relay
from market_pipeline.logs import log_to_stderr
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.canaries import KEY, PASSWORD, heard

SLEEP = "import time; time.sleep(60)"
READY = "open('ready', 'w').close();"
# A child with a child of its own in its group.
FAMILY = (
    f"import subprocess, sys; c = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]);"
    f"print(c.pid, file=open('pid', 'w')); {READY} c.wait()"
)
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN);"
    f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY} time.sleep(60)"
)
# Reports when it was interrupted, and ends with 7 once the file `go` exists.
ORDERLY = (
    "import os, signal, sys, time\n"
    "def end(number, frame):\n"
    "    print('bye', flush=True)\n    open('interrupted', 'w').close()\n"
    "    while not os.path.exists('go'): time.sleep(0.01)\n"
    "    sys.exit(7)\n"
    f"signal.signal(signal.SIGINT, end)\n{READY}\ntime.sleep(60)"
)
OWN = (
    "import json; own = lambda **f: "
    "print(json.dumps({'timestamp': 't', 'level': 'INFO', 'logger': 'l', **f}), flush=True);"
)
Written = Callable[[], str]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Written:
    """What was relayed so far, as text."""
    so_far: list[str] = []

    def read() -> str:
        so_far.append(capsys.readouterr().err)
        return "".join(so_far)

    logging.getLogger().handlers[:] = []
    log_to_stderr("INFO", "json", [KEY, PASSWORD])
    return read


def start(
    processes: Processes, folder: Path, code: str, *, relayed: bool = True, ready: bool = False
) -> "subprocess.Popen[bytes]":
    child = processes.start([sys.executable, "-c", code], os.environ, folder, "child", relayed=relayed)
    if ready:
        wait_for((folder / "ready").exists, 20, "its start")
    return child


def messages(text: str) -> list[str]:
    lines = [json.loads(row) for row in text.splitlines()]
    return [line["message"] for line in lines if not line["message"].startswith("Stopping; ")]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_way_to_stop_ends_the_children_and_theirs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: signal.Signals
) -> None:
    """SIGHUP is what a closed terminal sends; the former handlers are back afterwards."""
    caplog.set_level("INFO", "market_pipeline")
    handler = signal.getsignal(number)
    with Processes() as processes:
        child = start(processes, tmp_path, FAMILY, relayed=False, ready=True)
        signal.raise_signal(number)
        pytest.fail("the signal was not noticed")
    assert child.returncode is not None
    assert not is_alive(int((tmp_path / "pid").read_text()))
    assert [r.getMessage().partition(";")[0] for r in caplog.records] == ["Stopping"]
    assert signal.getsignal(number) is handler


def test_a_second_signal_kills_at_once(tmp_path: Path) -> None:
    """The child ignores every request to end, for which it would be given half a minute."""
    with Processes() as processes:
        child = start(processes, tmp_path, STUBBORN, relayed=False, ready=True)
        second = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        second.start()
        began = time.monotonic()
        signal.raise_signal(signal.SIGINT)
    assert child.returncode == -signal.SIGKILL
    assert time.monotonic() - began < 15
    second.join()


def test_a_terminal_that_hangs_up_twice_lets_the_children_end_in_order(tmp_path: Path, written: Written) -> None:
    """What they print on the way out is relayed."""

    def hang_up_again() -> None:
        wait_for((tmp_path / "interrupted").exists, 20, "the first signal")
        os.kill(os.getpid(), signal.SIGHUP)
        (tmp_path / "go").touch()

    with Processes() as processes:
        child = start(processes, tmp_path, ORDERLY, ready=True)
        second = threading.Thread(target=hang_up_again)
        second.start()
        signal.raise_signal(signal.SIGHUP)
    second.join()
    assert child.returncode == 7 and messages(written()) == ["bye"]


def test_a_child_that_ends_by_itself_gives_its_code_and_the_others_are_stopped(tmp_path: Path) -> None:
    with Processes() as processes:
        other = start(processes, tmp_path, SLEEP, relayed=False)
        start(processes, tmp_path, "raise SystemExit(3)", relayed=False)
        assert processes.wait_for_any() == End("child", 3)
        assert other.poll() is None
    assert other.returncode is not None


def test_an_end_that_dagster_reports_is_that_of_its_process(written: Written, tmp_path: Path) -> None:
    source = Path(str(find_spec("dagster._cli.dev").origin)).read_text()  # type: ignore[union-attr]  # it is installed
    assert '"dagster-daemon process shut down unexpectedly with return code"' in source
    code = "raise Exception('dagster-daemon process shut down unexpectedly with return code -9')"
    with Processes() as processes:
        start(processes, tmp_path, code)
        end = processes.wait_for_any()
    assert (end, end.how, end.exit_code) == (End("dagster-daemon", -9), "was killed by SIGKILL", 137)


def test_what_precedes_and_follows_the_end_may_fail(tmp_path: Path) -> None:
    seen: list[bool] = []

    def look() -> None:
        seen.append(child.poll() is None)
        raise ArithmeticError

    with Processes(look, look) as processes:
        child = start(processes, tmp_path, SLEEP, relayed=False)
    assert seen == [True, False]


def test_another_error_passes_after_the_children_are_stopped(tmp_path: Path) -> None:
    children = []

    def fail() -> None:
        with Processes() as processes:
            children.append(start(processes, tmp_path, SLEEP, relayed=False))
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert children[0].returncode is not None


def test_children_have_exactly_the_given_environment_and_folder_and_without_a_relay_our_streams(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import os; print(os.environ['ONLY'], 'HOME' in os.environ, os.getcwd())"
    with Processes() as processes:
        processes.start([sys.executable, "-c", code], {"ONLY": "this"}, tmp_path, "x", relayed=False)
        assert processes.wait_for_any().code == 0
    assert capfd.readouterr().out == f"this False {tmp_path}\n"


def test_every_row_arrives_of_both_streams_of_grandchildren_and_without_an_end(
    written: Written, tmp_path: Path
) -> None:
    code = OWN + (
        "[own(message=str(n), pad='x' * 2000) for n in range(2000)]; import subprocess, sys;"
        "sys.stderr.write('err\\n'); sys.stdout.buffer.write(b'\\xff\\n'); sys.stdout.flush();"
        "subprocess.run([sys.executable, '-c', 'raise ValueError(5)']); print('the end', end='', flush=True)"
    )
    with Processes() as processes:
        start(processes, tmp_path, code)
        assert processes.wait_for_any().code == 0
    assert messages(written()) == [*map(str, range(2000)), "err", "\\xff", "ValueError: 5", "the end"]


def test_a_row_is_relayed_at_once_and_text_after_a_moment(written: Written, tmp_path: Path) -> None:
    code = OWN + "import time; own(message='line'); print('text', flush=True); time.sleep(60)"
    with Processes() as processes:
        start(processes, tmp_path, code)
        wait_for(lambda: messages(written()) == ["line", "text"], 20, "the relaying of both")


def test_secrets_of_others_are_hidden(written: Written, tmp_path: Path) -> None:
    secret = json.dumps([KEY, PASSWORD])
    code = OWN + f"s = {secret}; own(message=s[0], deep={{'a': s}}); print(s); raise ValueError(s[1])"
    with Processes() as processes:
        start(processes, tmp_path, code)
        assert processes.wait_for_any().code == 1
    assert heard("relayed", written()) == [] and written().count("[hidden]") >= 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_terminal_that_is_gone_stops_nothing_from_ending(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The child writes more than a pipe holds, so its output must be read on."""
    refused: list[str] = []

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            refused.append(text)
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("sys.stderr", Gone())
    with Processes() as processes:
        child = start(processes, tmp_path, READY + "\nwhile True: print('x' * 1000, flush=True)", ready=True)
        wait_for(lambda: len(refused) > 100, 20, "writing to it")
        signal.raise_signal(number)
    assert child.returncode is not None


@pytest.mark.slow
def test_a_reader_that_has_stopped_reading_keeps_nothing_from_ending(tmp_path: Path) -> None:
    """All writers wait for it, so none of them must be waited for."""
    code = "import os; open('child', 'w').write(str(os.getpid()))\nwhile True: print('x' * 1000, flush=True)"
    command = [sys.executable, "-m", "market_pipeline.commands.children.relayed", sys.executable, "-c", code]
    reader, writer = os.pipe()
    process = subprocess.Popen(command, cwd=tmp_path, stderr=writer)
    wait_for(lambda: select.select([reader], [], [], 0)[0], 20, "its first line")
    wait_for(lambda: not select.select([], [writer], [], 0)[1], 20, "a full pipe")
    os.close(writer)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    os.close(reader)
    assert not is_alive(int((tmp_path / "child").read_text()))


def test_a_process_that_lives_on_is_not_waited_for(written: Written) -> None:
    """One that left the group, say, and still holds the pipe."""
    child = subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.PIPE)
    assert child.stdout is not None
    relay = Relay(child.stdout, "child")
    relay.drain(0.2)
    assert child.poll() is None
    child.kill()
    child.wait()
    relay.drain()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_any_command_can_be_relayed_on_a_server(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOG_FORMAT", log_format)
    code = OWN + "import os; own(message=os.environ['LOG_FORMAT'], n=5); print('text'); raise SystemExit(3)"
    assert relayed.main([sys.executable, "-c", code]) == 3
    if log_format == "json":
        assert messages(written()) == ["json", "text"]
    else:
        rows = written().splitlines()
        assert rows[0] == "t INFO    l json n=5" and rows[1].endswith(f" INFO    {Path(sys.executable).name} text")


def test_a_relayed_command_is_found_beside_this_python(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert relayed.main([Path(sys.executable).name, "-c", "print('text')"]) == 0
    assert "text" in written()
    with pytest.raises(SystemExit, match="no command 'dagster-demon'"):
        relayed.main(["dagster-demon", "run"])


def test_a_relayed_command_ends_with_its_supervisor(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "market_pipeline.commands.children.relayed", sys.executable, "-c", READY + SLEEP]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / "ready").exists, 20, "its start")
    process.send_signal(signal.SIGTERM)
    _, output = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in output
