"""Where Dagster keeps its own history on a laptop: a git-ignored folder with the project's dagster.yaml."""

import shutil
import socket
from pathlib import Path

HOST = "127.0.0.1"


class StartError(RuntimeError):
    """Something on this machine keeps the command from starting; the message says what to do."""


def project_folder() -> Path:
    """The current folder if it is the project's; StartError otherwise."""
    folder = Path.cwd()
    missing = [name for name in ("workspace.yaml", "dagster.yaml") if not (folder / name).is_file()]
    if missing:
        raise StartError(f"{' and '.join(missing)} not found in {folder}; start from the project's folder")
    return folder


def prepare_home(project: Path, name: str) -> Path:
    """The absolute DAGSTER_HOME `name` inside `project`, with the current dagster.yaml in it."""
    home = project / name
    home.mkdir(exist_ok=True)
    shutil.copyfile(project / "dagster.yaml", home / "dagster.yaml")
    return home


def require_free(port: int, what: str) -> None:
    """StartError if something listens on `port` already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise StartError(f"port {port} for {what} is in use; stop what runs there or choose another port") from None


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
