"""Daily peaks: of each coin and UTC day the highest scores of large moves, and the slow volatility at its end.

They are the memory of a calibration. They are small, so that they reach back further than the quotes that it reads.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.scores.returns import FIRST, WARM_UP
from market_pipeline.anomalies.series import cadence_codes
from market_pipeline.core.columns import Columns

# The columns: the symbol, the day (`datetime64[D]`), the cadence as an index into `CADENCES`, the volatility per square
# root of a minute, and the highest scores. A day whose scores do not count has cadence `NOT_COUNTED`.
COLUMNS = ("symbol", "day", "cadence", "slow_volatility", "large_move", "market")

NOT_COUNTED = -1

# The slow volatility settles in this time; the days before it do not count.
_SETTLING = np.timedelta64(3, "D")
# A day counts if its quotes reach this far into it (minutes), unless it has only one.
_WHOLE = 1_200.0
_MINUTES = 1_440.0


def daily_peaks(scores: Columns, groups: Mapping[str, NDArray[np.intp]]) -> Columns:
    """Return the peaks of the days of scored quotes; `groups` has the rows of each symbol in time order."""
    return joined([_peaks(symbol, scores, rows) for symbol, rows in groups.items() if len(rows)])


def joined(parts: Sequence[Columns]) -> Columns:
    """Join tables of peaks."""
    if not parts:
        empty = {"symbol": np.empty(0, object), "day": np.empty(0, "datetime64[D]"), "cadence": np.empty(0, np.int8)}
        return Columns({name: empty.get(name, np.empty(0)) for name in COLUMNS})
    return Columns({name: np.concatenate([part[name] for part in parts]) for name in COLUMNS})


def _peaks(symbol: str, scores: Columns, rows: NDArray[np.intp]) -> Columns:
    times = scores["timestamp"][rows]
    days = times.astype("datetime64[D]")
    starts = np.concatenate([[0], np.flatnonzero(days[1:] != days[:-1]) + 1])
    counts = np.diff(np.append(starts, len(rows)))
    ends = starts + counts - 1
    of_day = days[starts]
    reach = (times[ends] - of_day) / np.timedelta64(1, "m")
    spacing = _MINUTES / counts
    texts = scores["quality"][rows[ends]]
    settled = np.array([not {FIRST, WARM_UP} & set(str(text).split(",")) for text in texts], dtype=np.bool_)
    counted = settled & (of_day >= of_day[0] + _SETTLING) & ((reach >= _WHOLE) | (counts == 1))
    return Columns(
        {
            "symbol": np.full(len(of_day), symbol, dtype=object),
            "day": of_day,
            "cadence": np.where(counted, cadence_codes(spacing), NOT_COUNTED).astype(np.int8),
            "slow_volatility": scores["slow_volatility"][rows[ends]],
            "large_move": np.maximum.reduceat(scores["large_move_score"][rows], starts),
            "market": np.maximum.reduceat(scores["market_score"][rows], starts),
        }
    )
