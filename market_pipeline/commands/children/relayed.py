"""Run a command and relay its output: `python -m market_pipeline.commands.children.relayed COMMAND ...`.

For servers whose supervisor starts Dagster's daemon and webserver one by one. `market-pipeline run` does it itself.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from market_pipeline.commands.children.processes import Processes
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.logs import configure_logging
from market_pipeline.settings import load_settings


def main(command: Sequence[str]) -> int:
    """Run `command` until it ends or a signal stops it; return its exit code, 0 after a signal."""
    settings = load_settings()
    configure_logging(settings)
    # Dagster's commands lie beside this Python, whether its environment is active or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which(command[0], path=path) if command else None
    if program is None:
        sys.exit(f"relayed: no command {command[0]!r}" if command else "relayed: which command? COMMAND [ARGS]...")
    # This process writes the lines in the configured format.
    environment = {**os.environ, **storage_of(settings).variables, "LOG_FORMAT": "json", "PATH": path}
    with Processes() as processes:
        processes.start([program, *command[1:]], environment, Path.cwd(), Path(command[0]).name)
        return processes.wait_for_any().exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
