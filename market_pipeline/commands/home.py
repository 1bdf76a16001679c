"""Where Dagster keeps its own history on a laptop: a git-ignored folder with the project's dagster.yaml."""

import errno
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import TextIO

import market_pipeline

if sys.platform != "win32":
    import fcntl

HOST = "127.0.0.1"


class StartError(RuntimeError):
    """Something on this machine keeps the command from starting; the message says what to do."""


def shipped_file(name: str) -> Path:
    """The project's `name`, dagster.yaml or workspace.yaml: of this folder, the checkout or the installed wheel.

    StartError if none of them has it.
    """
    for folder in (Path.cwd(), Path(market_pipeline.__file__).parents[1]):
        if (folder / name).is_file():
            return folder / name
    for file in distribution("market-pipeline").files or ():
        if file.name == name:
            return Path(str(file.locate())).resolve()
    raise StartError(f"{name} is missing from this installation; install market-pipeline again")


@contextmanager
def own_home(folder: Path, name: str) -> Iterator[Path]:
    """The absolute DAGSTER_HOME `name` inside `folder`, with the current dagster.yaml, for us alone.

    Two daemons on one home would start every run twice. StartError if another process has it or if
    it cannot be written.
    """
    home = folder / name
    with _explained(home):
        home.mkdir(exist_ok=True)
        lock = (home / "lock").open("w")
    with lock:
        with _explained(home):
            _take(lock)
            shutil.copyfile(shipped_file("dagster.yaml"), home / "dagster.yaml")
        yield home


@contextmanager
def _explained(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or home
        raise StartError(f"{where}: {error.strerror}; {home} must be a folder that can be written") from None


def _take(lock: TextIO) -> None:
    """Keep others from `lock` until it is closed or this process ends; nothing on Windows."""
    if sys.platform != "win32":
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError("already running from this folder; stop it first") from None


def require_free(port: int, what: str, address: str = HOST) -> None:
    """StartError if `port` of the IP address `address` cannot be listened on."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                remedy = "stop what runs there or choose another with --port"
                message = f"port {port} for {what} is in use; {remedy}"
            else:
                message = f"{what} cannot listen on {address}, port {port}: {error.strerror}"
            raise StartError(message) from None


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
