"""A folder from which the command can be started."""

import shutil
from pathlib import Path

import pytest

from market_pipeline_tests.logging_state import restored

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_logging():
    """A command configures the logging of its process, which here is that of other tests too."""
    with restored():
        yield


@pytest.fixture
def project(tmp_path):
    """A folder with what the command needs of the project, and a `.env` that must not win."""
    for name in ("workspace.yaml", "dagster.yaml"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / ".env").write_text("LOG_LEVEL=ERROR\nDATABASE_URL=sqlite:///of_the_env_file.db\n")
    return tmp_path
