"""Whether one alarm for the whole market notices the known events."""

from collections.abc import Sequence

import numpy as np

from benchmarks.anomalies.events import Hits, from_panel
from benchmarks.anomalies.ours import as_frame
from benchmarks.anomalies.peers import Panel, aligned
from benchmarks.anomalies.prices import Bars, by_file
from benchmarks.anomalies.rivals import two_point
from benchmarks.anomalies.volatility import Floats


def measure(series: Sequence[Bars]) -> list[Hits]:
    """The package's market score, beside the largest and the median two-point move of the coins."""
    panels = [aligned(bars) for bars in by_file(list(series)).values()]
    return [
        from_panel("market (ours)", [_timed(panel, _market(panel)) for panel in panels]),
        from_panel("largest two-point move of a coin", [_timed(p, _moves(p).max(axis=0)) for p in panels]),
        from_panel("median two-point move", [_timed(p, np.median(_moves(p), axis=0)) for p in panels]),
    ]


def _timed(panel: Panel, scores: Floats) -> tuple[Floats, Floats, float]:
    minutes = next(iter(panel.values()))[0]
    return minutes, scores, float(minutes[-1] - minutes[0]) / 1440


def _market(panel: Panel) -> Floats:
    """The market score of a time: the highest that any coin's row of that time carries."""
    from market_pipeline.anomalies import score_prices

    scored = score_prices(as_frame(panel))["market_score"].to_numpy(np.float64)
    scores: Floats = np.nan_to_num(scored).reshape(len(panel), -1).max(axis=0)
    return scores


def _moves(panel: Panel) -> Floats:
    return np.array([two_point(minutes, prices) for minutes, prices in panel.values()])
