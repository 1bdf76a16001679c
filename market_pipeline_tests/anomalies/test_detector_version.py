"""The version that rows carry changes with whatever changes the rows, and with nothing else."""

import hashlib
import importlib
import json
import pkgutil
from dataclasses import asdict, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

from market_pipeline import anomalies
from market_pipeline.anomalies.parameters import (
    DEFAULT_SETTINGS,
    DETECTOR_VERSION,
    PARAMETERS,
    RULES,
    DetectionSettings,
    Parameters,
    version_of,
)

# These change no row, or the version follows them.
FREE = {"COMPILED_FROM", "DEFAULT_SETTINGS", "DETECTOR_VERSION", "PARAMETERS", "RULES", "TYPE_CHECKING"}
PINNED = (25, "c13c65e54855")


def numbers(value: Any) -> Any:
    """The numbers and texts in a constant, None where there are none."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, np.timedelta64):
        value = str(value.astype("timedelta64[s]"))
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        value = [[str(key), numbers(each)] for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return [numbers(each) for each in value]
    return value if isinstance(value, (int, float, str)) else None


def constants() -> list[str]:
    """Every constant of the detectors, wherever its module lies; wording changes no row."""
    found = [["LEAD_DAYS", anomalies.LEAD_DAYS]]
    for module in pkgutil.walk_packages(anomalies.__path__, f"{anomalies.__name__}."):
        if ".words" not in module.name:
            names = vars(importlib.import_module(module.name)).items()
            found += [[name, numbers(value)] for name, value in names if name.isupper() and name not in FREE]
    return sorted({json.dumps(each) for each in found})


def test_a_constant_that_changes_asks_for_a_new_number_of_the_rules() -> None:
    """Those of `Parameters` and `DetectionSettings` are followed, those beside a rule are not.

    Where this fails and rows change with it, raise `RULES`; then write both here.
    """
    digest = hashlib.sha256(json.dumps(constants()).encode()).hexdigest()[:12]
    assert (RULES, digest) == PINNED


def test_the_version_is_that_of_the_stored_rows() -> None:
    """Another version makes Dagster score every partition again: change it with the rows only."""
    assert version_of(PARAMETERS, DEFAULT_SETTINGS) == DETECTOR_VERSION == "25-87053a96"


@pytest.mark.parametrize(
    ("parameters", "settings"),
    [
        (replace(PARAMETERS, gap_ratio=4.0), DEFAULT_SETTINGS),
        (replace(PARAMETERS, filter=replace(PARAMETERS.filter, outliers=0.01)), DEFAULT_SETTINGS),
        (PARAMETERS, DetectionSettings(user_threshold=0.04)),
    ],
)
def test_a_parameter_that_changes_makes_another_version(parameters: Parameters, settings: DetectionSettings) -> None:
    assert version_of(parameters, settings) != DETECTOR_VERSION
