"""Which Dagster instance a command works on that does not start one."""

import os
import shutil
from pathlib import Path

from market_pipeline.commands.home import StartError, shipped_file
from market_pipeline.commands.instance import create_instance
from market_pipeline.settings import LOCAL_DAGSTER_HOME


def dagster_home() -> Path:
    """The folder that DAGSTER_HOME names, else that of `make run` in this folder, created if need be.

    Its lock is left alone: `make run` may be at work. StartError if the folder cannot be used.
    """
    if given := os.environ.get("DAGSTER_HOME"):
        home = Path(given).expanduser()
        if not home.is_absolute() or not home.is_dir():
            raise StartError(f"DAGSTER_HOME={given} is not the absolute path of a folder")
        return home
    home = Path.cwd() / LOCAL_DAGSTER_HOME
    try:
        home.mkdir(exist_ok=True)
        if not (home / "dagster.yaml").exists():
            shutil.copyfile(shipped_file("dagster.yaml"), home / "dagster.yaml")
    except OSError as error:
        raise StartError(f"{home} cannot be written: {error.strerror}") from None
    create_instance(home)
    return home
