"""Children that end with their parent, whatever ends it; tiny ones stand in for Dagster's."""

import os
import signal
import sys
import threading
import time

import pytest

from market_pipeline.commands.children.processes import Processes
from market_pipeline_tests.builders import wait_for

SLEEP = "import time; time.sleep(60)"
# A child with a child of its own in its group.
FAMILY = (
    f"import subprocess, sys; c = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]);"
    "print(c.pid, file=open('pid', 'w')); c.wait()"
)
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN);"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); open('ready', 'w').close(); time.sleep(60)"
)


def run(processes, folder, code):
    return processes.start([sys.executable, "-c", code], os.environ, folder)


def wait_for_file(path):
    wait_for(lambda: path.exists() and (path.name != "pid" or path.read_text().endswith("\n")), 20, path.name)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_way_to_stop_ends_the_children_and_theirs(tmp_path, caplog, number):
    """SIGHUP is what a closed terminal sends; the former handlers are back afterwards."""
    caplog.set_level("INFO", "market_pipeline")
    handler = signal.getsignal(number)
    with Processes() as processes:
        child = run(processes, tmp_path, FAMILY)
        wait_for_file(tmp_path / "pid")
        signal.raise_signal(number)
        pytest.fail("the signal was not noticed")
    assert child.returncode is not None
    assert not is_alive(int((tmp_path / "pid").read_text()))
    assert [r.getMessage() for r in caplog.records] == [
        "Stopping; this takes some seconds. Press Ctrl-C again to kill everything."
    ]
    assert signal.getsignal(number) is handler


def test_a_second_signal_kills_at_once(tmp_path):
    """The child ignores every request to end, for which it would be given half a minute."""
    with Processes() as processes:
        child = run(processes, tmp_path, STUBBORN)
        wait_for_file(tmp_path / "ready")
        second = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        second.start()
        began = time.monotonic()
        signal.raise_signal(signal.SIGINT)
    assert child.returncode == -signal.SIGKILL
    assert time.monotonic() - began < 15
    second.join()


def test_a_terminal_that_hangs_up_twice_lets_the_children_end_in_order(tmp_path):
    orderly = (
        "import signal, sys, time\n"
        "def end(number, frame):\n    time.sleep(1)\n    sys.exit(7)\n"
        "signal.signal(signal.SIGINT, end)\nopen('ready', 'w').close()\ntime.sleep(60)"
    )
    with Processes() as processes:
        child = run(processes, tmp_path, orderly)
        wait_for_file(tmp_path / "ready")
        second = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGHUP))
        second.start()
        signal.raise_signal(signal.SIGHUP)
    second.join()
    assert child.returncode == 7


def test_a_child_that_ends_by_itself_gives_its_code_and_the_others_are_stopped(tmp_path):
    with Processes() as processes:
        other = run(processes, tmp_path, SLEEP)
        run(processes, tmp_path, "raise SystemExit(3)")
        assert processes.wait_for_any() == 3
        assert other.poll() is None
    assert other.returncode is not None


def test_another_error_passes_after_the_children_are_stopped(tmp_path):
    with pytest.raises(ArithmeticError), Processes() as processes:
        child = run(processes, tmp_path, SLEEP)
        raise ArithmeticError
    assert child.returncode is not None


def test_children_start_with_exactly_the_given_environment_and_folder(tmp_path):
    code = "import os; print(os.environ['ONLY'], 'HOME' in os.environ, file=open('out', 'w'))"
    with Processes() as processes:
        processes.start([sys.executable, "-c", code], {"ONLY": "this"}, tmp_path)
        assert processes.wait_for_any() == 0
    assert (tmp_path / "out").read_text() == "this False\n"
