"""Machines of our own: network namespaces on one bridge, each with an address, and the processes on them.

They share nothing but the network between them. Only root can make them, on Linux.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

_NETWORK = "10.77.0"
_TICKS = os.sysconf("SC_CLK_TCK")


def why_not() -> str | None:
    """Return why this computer cannot make machines, or None."""
    if os.name != "posix" or os.geteuid() != 0:
        return "network namespaces need root"
    if missing := [tool for tool in ("ip", "redis-server", "setpriv") if shutil.which(tool) is None]:
        return f"{', '.join(missing)} missing (Debian: iproute2, redis-server, util-linux)"
    probe = f"probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "this system forbids network namespaces"
    subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
    return None


class Process:
    """A process on a machine, whose output is in `log`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, name: str) -> None:
        folder.mkdir(exist_ok=True)
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                command, env=dict(environment), cwd=folder, stdout=output, stderr=subprocess.STDOUT
            )
        self.pid = self._popen.pid

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._popen.poll() is not None

    def signal(self, number: int) -> None:
        """Send a signal to this process alone."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """Kill it with -9 and wait for its end."""
        if not self.ended:
            self._popen.kill()
        self._popen.wait()

    def end(self, seconds: float) -> float:
        """Terminate it, kill it after so many seconds; return how long it took."""
        started = time.monotonic()
        if not self.ended:
            self._popen.terminate()
            try:
                self._popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return time.monotonic() - started

    def children(self, named: str = "") -> list[int]:
        """The processes that it started and that live, with a command line that contains `named`."""
        return [pid for pid in children_of(self.pid) if named.encode() in _command(pid)]

    def cpu(self) -> float:
        """Processor seconds of the process, of its living children, and of those that it has waited for."""
        return sum(_cpu(pid) for pid in (self.pid, *self.children()))


def children_of(pid: int) -> list[int]:
    """Return the living children of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / _TICKS


class Machine:
    """One namespace with an address and a folder."""

    def __init__(self, namespace: str, address: str, folder: Path) -> None:
        self.namespace = namespace
        self.address = address
        self.folder = folder
        folder.mkdir()

    def start(self, command: Sequence[str], environment: Mapping[str, str], name: str) -> Process:
        """Start a process here; `ip` replaces itself by it."""
        return Process(["ip", "netns", "exec", self.namespace, *command], environment, self.folder, name)

    def output(self, command: Sequence[str]) -> str:
        """Return what a command prints here."""
        command = ["ip", "netns", "exec", self.namespace, *command]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    def unplug(self, plugged: bool = False) -> None:
        """Take the machine off the network, or put it back."""
        _ip("-n", self.namespace, "link", "set", "eth0", "up" if plugged else "down")


class Network:
    """A `with` block: its machines are gone afterwards, with every process on them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._machines: list[Machine] = []
        self.central = self._add("central", 1)

    def __enter__(self) -> "Network":
        # Ended by a supervisor, it must leave no namespace behind either.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        _ip("-n", self.central.namespace, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self.central.namespace, "address", "add", f"{self.central.address}/24", "dev", "bridge")
        _ip("-n", self.central.namespace, "link", "set", "bridge", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for machine in reversed(self._machines):
            for pid in _ip("netns", "pids", machine.namespace).split():
                _kill(int(pid))
        for machine in self._machines:
            wait_until(partial(_is_empty, machine), 10, f"the end of the processes of {machine.namespace}")
            _ip("netns", "del", machine.namespace)

    def machine(self, name: str) -> Machine:
        """Add a machine that reaches the central one, which has the first address."""
        machine = self._add(name, 10 + len(self._machines))
        port = f"port{len(self._machines)}"
        hub = self.central.namespace
        _ip("link", "add", "eth0", "netns", machine.namespace, "type", "veth", "peer", "name", port, "netns", hub)
        _ip("-n", hub, "link", "set", port, "master", "bridge", "up")
        _ip("-n", machine.namespace, "address", "add", f"{machine.address}/24", "dev", "eth0")
        _ip("-n", machine.namespace, "link", "set", "eth0", "up")
        return machine

    def _add(self, name: str, number: int) -> Machine:
        namespace = f"faults-{os.getpid()}-{name}"
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        self._machines.append(Machine(namespace, f"{_NETWORK}.{number}", self._folder / name))
        return self._machines[-1]


def _is_empty(machine: Machine) -> bool:
    return not _ip("netns", "pids", machine.namespace).split()


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_until(condition: Callable[[], object], seconds: float, what: str, every: float = 0.1) -> float:
    """Wait until `condition` returns something true, and return how long it took; TimeoutError names `what`."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"{what} has not happened within {seconds:g} s")
        time.sleep(every)
    return time.monotonic() - started
