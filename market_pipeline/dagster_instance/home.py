"""DAGSTER_HOME, the folder of the Dagster instance: one rule for every command, but for `demo`, which has its own.

It is the folder that the variable names, which must exist, else `.dagster_home` in the current folder.
"""

import errno
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import market_pipeline
from market_pipeline.core.file_lock import try_lock, waiting_for_lock
from market_pipeline.logs import get_logger
from market_pipeline.settings import LOCAL_DAGSTER_HOME


def create_instance(home: Path) -> None:
    """Create Dagster's storage unless it exists; concurrent callers wait for the first to finish.

    Run retries follow the event log from a stored position, which each event type needs one of. Without a
    position the daemon warns that it ignores older events; a position that exists is where it stopped.
    """
    with waiting_for_lock(home / "creating.lock"):
        # Storage in a database of its own leaves no such folder: only its tables tell.
        if not (home / "history").exists():
            _create(home)


def _create(home: Path) -> None:
    from dagster import DagsterEventType, DagsterInstance

    # The names that the daemon gives them; a test starts the daemon and looks for the warning.
    events = (DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS)
    names = {f"EVENT_LOG_CONSUMER_CURSOR-{event.value}" for event in events}
    with DagsterInstance.from_config(str(home)) as instance:
        cursors = instance.daemon_cursor_storage
        if missing := names - cursors.get_cursor_values(names).keys():
            newest = instance.event_log_storage.get_maximum_record_id() or 0
            cursors.set_cursor_values(dict.fromkeys(missing, str(newest)))


logger = get_logger(__name__)

VARIABLE = "DAGSTER_HOME"
_CONFIG = "dagster.yaml"

HOST = "127.0.0.1"


class StartError(RuntimeError):
    """Something on this machine keeps the command from starting; the message says what to do."""


class BadHome(StartError):
    """DAGSTER_HOME names no folder that can be used: the `problem` and its `remedy`."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


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


def default_home(folder: Path) -> Path:
    """Return the home of an installation in `folder` where DAGSTER_HOME is not set."""
    return folder / LOCAL_DAGSTER_HOME


def named_home(folder: Path, environment: Mapping[str, str]) -> Path:
    """Return the home of an installation in `folder`; BadHome if DAGSTER_HOME names no existing folder."""
    given = environment.get(VARIABLE, "").strip()
    default = default_home(folder)
    if not given:
        return default
    home = Path(given).expanduser()
    otherwise = f"or unset {VARIABLE} to use {default}"
    if not home.is_absolute():
        raise BadHome(f"{VARIABLE}={given} is not an absolute path", f"write the whole path, {otherwise}")
    if not home.is_dir():
        what = "is not a folder" if home.exists() else "does not exist"
        raise BadHome(f"{VARIABLE}={given} {what}", f"create the folder, {otherwise}")
    return home


def current_home() -> Path:
    """Return the home of this process's folder and environment."""
    return named_home(Path.cwd(), os.environ)


def ready_home() -> Path:
    """Return the current home with a dagster.yaml and Dagster's storage, for a command that starts no daemon.

    Its lock is left alone: `market-pipeline run` may be at work.
    """
    home = current_home()
    with _explained(home):
        home.mkdir(exist_ok=True)
        _configure(home, ours=False)
    if not configures_storage(home):
        create_instance(home)
    return home


@contextmanager
def own_home(home: Path, *, ours: bool) -> Iterator[Path]:
    """Hold `home`, with a dagster.yaml, for this process alone: two daemons would start every run twice.

    If the folder is `ours` the file is replaced by the project's, otherwise only written where there is none.
    StartError if another process holds it or if it cannot be written.
    """
    with _explained(home):
        home.mkdir(exist_ok=True)
        lock = (home / "lock").open("w")
    with lock:
        if not try_lock(lock):
            raise StartError(f"already running with {home}; stop it first")
        with _explained(home):
            _configure(home, ours)
        yield home


def configures_storage(home: Path) -> bool:
    """Whether the dagster.yaml in `home` says where Dagster's storage is; otherwise it is in `home` itself."""
    config = home / _CONFIG
    lines = config.read_text(encoding="utf-8").splitlines() if config.is_file() else []
    return any(line.startswith("storage:") for line in lines)


def _configure(home: Path, ours: bool) -> None:
    config = home / _CONFIG
    if config.exists() and not ours:
        return
    if not ours and home != default_home(Path.cwd()):
        logger.info("%s has no %s; the project's is copied there", home, _CONFIG)
    # Another command may begin in the same folder: it must not read half a file.
    part = home / f"{_CONFIG}.{os.getpid()}"
    shutil.copyfile(shipped_file(_CONFIG), part)
    part.replace(config)


@contextmanager
def _explained(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or home
        raise StartError(f"{where}: {error.strerror}; {home} must be a folder that can be written") from None


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
