"""What it costs to load the code location, which every run pays."""

import os
import sys
from collections.abc import Iterator

from benchmarks.figures import Figure
from benchmarks.measure import in_turn, process_cpu

BAR = 1.6


def figures() -> Iterator[Figure]:
    """Processor time of importing the code location against `import dagster`."""

    def importing(module: str) -> float:
        return process_cpu([sys.executable, "-c", f"import {module}"], os.environ)

    pair = in_turn(lambda: importing("market_pipeline.definitions"), lambda: importing("dagster"), 5)
    yield Figure(
        "import the code location / import dagster", pair.ratio, "x", BAR, note=f"{pair.first:.2f} s CPU"
    )
