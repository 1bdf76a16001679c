"""The version that rows carry changes with whatever changes the rows."""

import hashlib
import importlib
import json
import pkgutil
from dataclasses import asdict, is_dataclass, replace

import numpy as np
import pytest

from market_pipeline import anomalies
from market_pipeline.anomalies.parameters import DETECTOR_VERSION, PARAMETERS, RULES, DetectionSettings, version_of

# These change no row, or are followed by the version.
FREE = {"COMPILED_FROM", "DETECTOR_VERSION", "PARAMETERS", "RULES", "TYPE_CHECKING"}
PINNED = (3, "a335d4079ee8")


def numbers(value):
    """The numbers and words in a constant, None where there are none."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, (np.timedelta64, np.ndarray)):
        value = value.tolist() if isinstance(value, np.ndarray) else str(value.astype("timedelta64[s]"))
    if isinstance(value, dict):
        value = [[str(key), numbers(each)] for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return [numbers(each) for each in value]
    return value if isinstance(value, (int, float, str)) else None


def constants():
    """Every constant of the detectors, wherever its module lies."""
    found = [["LEAD_DAYS", anomalies.LEAD_DAYS]]
    for module in pkgutil.walk_packages(anomalies.__path__, f"{anomalies.__name__}."):
        names = vars(importlib.import_module(module.name)).items()
        found += [[name, numbers(value)] for name, value in names if name.isupper() and name not in FREE]
    return sorted({json.dumps(each) for each in found})


def test_a_constant_that_changes_asks_for_a_new_number_of_the_rules():
    """Those of `Parameters` and `DetectionSettings` are followed, those beside a rule are not.

    Where this fails and rows change with it, raise `RULES`; then write both here.
    """
    digest = hashlib.sha256(json.dumps(constants()).encode()).hexdigest()[:12]
    assert (RULES, digest) == PINNED


@pytest.mark.parametrize(
    "changed",
    [
        (replace(PARAMETERS, gap_ratio=4.0), DetectionSettings()),
        (replace(PARAMETERS, filter=replace(PARAMETERS.filter, outliers=0.01)), DetectionSettings()),
        (PARAMETERS, DetectionSettings(user_threshold=0.04)),
    ],
)
def test_a_parameter_that_changes_makes_another_version(changed):
    assert version_of(PARAMETERS, DetectionSettings()) == DETECTOR_VERSION
    assert version_of(*changed) != DETECTOR_VERSION
