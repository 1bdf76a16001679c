"""DAGSTER_HOME: which folder it is, its lock and its dagster.yaml, and the Dagster instance in it.

It is the folder that the variable names, which must exist, otherwise `.dagster_home` in the current folder.
`demo` alone has its own.

The commands write dagster.yaml: the project's, with the storage that the settings name. One without their first line,
in a folder that the variable names, is the user's and stays as it is.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import market_pipeline
from market_pipeline.core.file_lock import lock_after_queries, waiting_for_lock
from market_pipeline.dagster_instance.instance_storage import FILES, InstanceStorage
from market_pipeline.dagster_instance.instance_storage import VARIABLE as URL_VARIABLE
from market_pipeline.dagster_instance.new_storage import keep_stopped, set_event_cursors
from market_pipeline.dagster_instance.running import LOCK, record, running
from market_pipeline.logs import get_logger
from market_pipeline.settings import LOCAL_DAGSTER_HOME

if TYPE_CHECKING:
    import dagster as dg

logger = get_logger(__name__)

VARIABLE = "DAGSTER_HOME"
_CONFIG = "dagster.yaml"
_MARK = "# Written by market-pipeline, again at each start. A folder of your own in DAGSTER_HOME may have another.\n"
# Where Dagster's storage in SQLite files begins.
_FILES = "history"
# A key of the document that names a storage.
_STORAGE = re.compile(r"""^["']?(?:(?:run_|event_log_|schedule_)?storage|instance_class)["']?\s*:""", re.MULTILINE)
_REFERENCE = re.compile(rf"^[^#\n]*\benv[\"']?\s*:\s*[\"']?{URL_VARIABLE}\b", re.MULTILINE)
# Capturing the output of a run starts two processes per step. Ctrl-C reaches them too, and each prints a traceback.
_NO_CAPTURE: dict[str, Any] = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


class HomeError(RuntimeError):
    """The folder of the Dagster instance cannot be used: the `problem` and its `remedy`."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


def default_home(folder: Path) -> Path:
    """Return the home of an installation in `folder` where DAGSTER_HOME is not set."""
    return folder / LOCAL_DAGSTER_HOME


def named_home(folder: Path, environment: Mapping[str, str]) -> Path:
    """Return the home of an installation in `folder`; raise HomeError if DAGSTER_HOME names no existing folder."""
    given = environment.get(VARIABLE, "").strip()
    default = default_home(folder)
    if not given:
        return default
    home = Path(given).expanduser()
    otherwise = f"or unset {VARIABLE} to use {default}"
    if not home.is_absolute():
        raise HomeError(f"{VARIABLE}={given} is not an absolute path", f"write the whole path, {otherwise}")
    if not home.is_dir():
        what = "is not a folder" if home.exists() else "does not exist"
        raise HomeError(f"{VARIABLE}={given} {what}", f"create the folder, {otherwise}")
    return home


def current_home() -> Path:
    """Return the home of this process's folder and environment."""
    return named_home(Path.cwd(), os.environ)


def ready_home(storage: InstanceStorage = FILES) -> Path:
    """Return the current home with a dagster.yaml and Dagster's storage, for a command that starts no daemon.

    Does not take its lock: `market-pipeline run` may be running.
    """
    home = current_home()
    with _writable(home):
        home.mkdir(exist_ok=True)
        _configure(home, storage, ours=home == default_home(Path.cwd()))
    if _is_of(storage, home) or not configures_storage(home):
        create_instance(home, storage)
    return home


def checked_home(storage: InstanceStorage) -> Path:
    """Return the current home; raise a StorageError if its instance would have a `storage` that cannot be used."""
    home = current_home()
    if _REFERENCE.search(_next_config(home, storage, home == default_home(Path.cwd()))):
        storage.check()
    return home


@contextmanager
def own_home(home: Path, storage: InstanceStorage = FILES, *, ours: bool) -> Iterator[Path]:
    """Lock `home`, with a dagster.yaml, for this process: two daemons would start every run twice.

    If the folder is `ours`, or its dagster.yaml was written by a command, that is written again. HomeError if another
    process holds the lock or the folder cannot be written.
    """
    with _writable(home):
        home.mkdir(exist_ok=True)
        lock = (home / LOCK).open("w")
    with lock:
        if not lock_after_queries(lock):
            raise _taken(home)
        record(home)
        with _writable(home):
            _configure(home, storage, ours)
        yield home


def require_unused(home: Path) -> None:
    """Raise the HomeError of `own_home` if another process holds the lock of `home`."""
    if running(home) is not None:
        raise _taken(home)


def _taken(home: Path) -> HomeError:
    return HomeError(f"already running with {home} ({running(home)})", "stop it first")


@contextmanager
def only_daemon(home: Path, storage: InstanceStorage) -> Iterator[None]:
    """Keep other machines from starting a daemon over the database with the storage of the instance in `home`."""

    def refuse() -> NoReturn:
        raise HomeError(f"already running elsewhere with {storage}", f"stop it, or name another in {URL_VARIABLE}")

    with storage.only_daemon(refuse) if _is_of(storage, home) else nullcontext():
        yield


def shipped_file(name: str) -> Path:
    """Find the project's dagster.yaml or workspace.yaml: in this folder, the checkout or the installed wheel."""
    for folder in (Path.cwd(), Path(market_pipeline.__file__).parents[1]):
        if (folder / name).is_file():
            return folder / name
    for file in distribution("market-pipeline").files or ():
        if file.name == name:
            return Path(str(file.locate())).resolve()
    raise HomeError(f"{name} is missing from this installation", "install market-pipeline again")


def configures_storage(home: Path) -> bool:
    """Return whether the dagster.yaml in `home` names a storage; otherwise the storage is in `home` itself."""
    return bool(_STORAGE.search(_config_of(home)))


def storage_in(home: Path, storage: InstanceStorage) -> InstanceStorage | None:
    """Return where the instance in `home` is: in `storage`, in files, or None in one that its user has configured."""
    if _is_of(storage, home):
        return storage
    return None if configures_storage(home) else FILES


def has_files(home: Path) -> bool:
    """Return whether Dagster's storage is, or was, in SQLite files in `home`."""
    return (home / _FILES).exists()


def was_used(home: Path) -> bool:
    """Return whether Dagster has its storage in `home`, or in a database that its dagster.yaml names."""
    return has_files(home) or configures_storage(home)


def _config_of(home: Path) -> str:
    config = home / _CONFIG
    return config.read_text(encoding="utf-8") if config.is_file() else ""


def _is_of(storage: InstanceStorage, home: Path) -> bool:
    """Return whether the dagster.yaml in `home` refers to the database of `storage`."""
    return storage.url is not None and bool(_REFERENCE.search(_config_of(home)))


def _next_config(home: Path, storage: InstanceStorage, ours: bool) -> str:
    """Return the dagster.yaml of `home` from the next start on."""
    present = _config_of(home)
    if present and not ours and not present.startswith(_MARK):
        return present
    text = _MARK + shipped_file(_CONFIG).read_text(encoding="utf-8")
    return text if _STORAGE.search(text) else text + storage.block


def _configure(home: Path, storage: InstanceStorage, ours: bool) -> None:
    config, present = home / _CONFIG, _config_of(home)
    if not ours and not present:
        logger.info("%s has no %s; the project's is copied there", home, _CONFIG)
    text = _next_config(home, storage, ours)
    if text != present:
        # Atomic: another command may be reading the file.
        part = home / f"{_CONFIG}.{os.getpid()}"
        part.write_text(text, encoding="utf-8")
        part.replace(config)


@contextmanager
def _writable(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or home
        raise HomeError(
            f"{where}: {error.strerror}",
            f"{home} must be a folder that can be written: start in another folder, or let {VARIABLE} name one",
        ) from None


def open_instance(home: Path, storage: InstanceStorage = FILES, *, capture: bool = True) -> "dg.DagsterInstance":
    """Open the instance in `home`, to be used in a `with` block; with `capture` off, runs print to this process.

    Where its dagster.yaml refers to the database of `storage`, that must have been created.
    """
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    with variables_of(storage):
        return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides={} if capture else _NO_CAPTURE))


def variables_of(storage: InstanceStorage) -> AbstractContextManager[None]:
    """Set the environment variables from which Dagster opens `storage` and stores the events of runs."""
    return variables_set(storage.variables)


@contextmanager
def variables_set(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables of this process for a block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def create_instance(home: Path, storage: InstanceStorage = FILES, *, copies_partitions: bool = False) -> None:
    """Create Dagster's storage unless it exists; concurrent callers wait for the first to finish.

    A caller that `copies_partitions` from the former storage needs no advice to do so.
    """

    def create() -> None:
        with open_instance(home, storage) as instance:
            set_event_cursors(instance)
            if _is_of(storage, home) and has_files(home):
                with files_instance(home) as before:
                    keep_stopped(before, instance, storage, home / _FILES, advice=not copies_partitions)

    with waiting_for_lock(home / "creating.lock"):
        if _is_of(storage, home):
            storage.prepare(create)
        # A storage that the user has configured leaves no such folder: the cursors are then compared each time.
        elif not has_files(home):
            create()


def files_instance(home: Path) -> "dg.DagsterInstance":
    """Open the instance that was in SQLite files in `home` before its storage moved to a database."""
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    files: dict[str, Any] = {"storage": {"sqlite": {"base_dir": str(home)}}}
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=files))
