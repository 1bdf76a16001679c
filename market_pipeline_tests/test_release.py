"""The version is told in three places; they must not differ."""

import re
from importlib.metadata import version
from pathlib import Path

import market_pipeline

PROJECT = Path(__file__).parents[1]


def test_package_metadata_and_changelog_tell_the_same_version():
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1)
    assert version("market-pipeline") == market_pipeline.__version__ == newest
