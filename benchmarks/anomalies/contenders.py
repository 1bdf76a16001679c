"""All detectors that stand side by side in the tables, by name and in the order of the rows."""

from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.anomalies import libraries, ours, rivals
from benchmarks.anomalies.rivals import Detector

SHORT = 20_000  # quotes of a series that slow libraries are given


@dataclass(frozen=True)
class Contender:
    """A detector with its name in the tables; `at_most` quotes of each series are scored."""

    name: str
    scores: Detector
    at_most: int | None = None

    @property
    def title(self) -> str:
        return f"{self.name} (first {self.at_most:,} quotes)" if self.at_most else self.name


OURS = (
    Contender("jump (ours)", ours.jump),
    Contender("jump, calibrated every 4 weeks (ours)", ours.jump_calibrated),
    Contender("large move (ours)", ours.large_move),
)
RULES = (
    Contender("EWMA 0.94 on r/sqrt(dt), repeats dropped", rivals.ewma_clock_fresh),
    Contender("EWMA 0.94 on r/sqrt(dt)", rivals.ewma_clock),
    Contender("EWMA 0.94", rivals.ewma),
    Contender("rolling z 60", rivals.rolling_z),
    Contender("modified z 60", rivals.modified_z),
    Contender("Lee-Mykland", rivals.lee_mykland),
    Contender("two-point", rivals.two_point),
)
ALL_LIBRARIES = (
    ("pyod", Contender("PyOD ECOD", libraries.ecod)),
    ("pyod", Contender("PyOD IForest", libraries.isolation_forest)),
    ("river", Contender("river HalfSpaceTrees", libraries.half_space_trees, SHORT)),
)
# Those that are installed: `make bench-anomalies` installs all.
LIBRARIES = tuple(contender for library, contender in ALL_LIBRARIES if find_spec(library) is not None)
CONTENDERS = OURS + RULES + LIBRARIES
