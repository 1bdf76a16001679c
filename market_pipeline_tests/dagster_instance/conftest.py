"""An instance that a test may change, in a home with the project's dagster.yaml."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from market_pipeline.dagster_instance.home import open_instance


@pytest.fixture
def home(tmp_path: Path, home_template: Path) -> Path:
    """A home of its own whose storage has been created."""
    return shutil.copytree(home_template, tmp_path / "dagster_home")


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """A real instance of its own."""
    with open_instance(home) as opened:
        yield opened
