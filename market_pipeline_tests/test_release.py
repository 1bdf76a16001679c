"""What a release promises: one version everywhere, a wheel that runs anywhere, a project that Dagster's tools know."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest

import market_pipeline

PROJECT = Path(__file__).parents[1]
FIND = """
from market_pipeline.dagster_instance.home import shipped_file
for name in ("dagster.yaml", "workspace.yaml"):
    print(shipped_file(name))
"""


def test_package_metadata_and_changelog_tell_the_same_version() -> None:
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert version("market-pipeline") == market_pipeline.__version__ == newest[1]


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_installed_wheel_finds_its_files_from_any_folder(tmp_path: Path) -> None:
    source, elsewhere, installed = tmp_path / "source", tmp_path / "elsewhere", tmp_path / "installed"
    elsewhere.mkdir()
    shutil.copytree(PROJECT / "market_pipeline", source / "market_pipeline")
    for name in ("pyproject.toml", "README.md", "LICENSE", "dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    run([*pip, "wheel", *offline, "--no-build-isolation", "-w", str(tmp_path), str(source)], elsewhere)
    wheel = str(next(tmp_path.glob("*.whl")))
    run([*pip, "install", *offline, "--ignore-installed", "--prefix", str(installed), wheel], elsewhere)
    packages = sysconfig.get_path("purelib", vars={"base": str(installed)})
    found = run([sys.executable, "-c", FIND], elsewhere, PYTHONPATH=packages).split()
    for line, name in zip(found, ("dagster.yaml", "workspace.yaml"), strict=True):
        assert Path(line).is_relative_to(installed), line
        assert Path(line).read_text() == (PROJECT / name).read_text()


@pytest.mark.slow
def test_dagsters_own_tool_loads_the_definitions(tmp_path: Path) -> None:
    """`dg` starts from pyproject.toml, the UI and the daemon from workspace.yaml."""
    dg = Path(sys.executable).with_name("dg")
    said = run([str(dg), "check", "defs"], PROJECT, DAGSTER_HOME=str(tmp_path), HOME=str(tmp_path))
    assert "All definitions loaded successfully" in said
