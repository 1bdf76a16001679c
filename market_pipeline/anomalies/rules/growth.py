"""Which large moves are told: the first of an episode, and later ones only where the move grew.

After a crash every quote of some hours is far from where the price was an hour or four before. All of them
make the episode last; only those beyond what was told already bring something new. Rises and falls are
told apart, and each UTC day for itself, because a day's rows must not depend on rows of another.
"""

from collections.abc import Iterable, Iterator, Mapping

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.rules.episodes import Episode
from market_pipeline.anomalies.rules.finding import Finding
from market_pipeline.anomalies.rules.flags import log_move
from market_pipeline.anomalies.rules.score_table import ScoreTable, day_of


def only_growing(
    table: ScoreTable, findings: Iterable[Finding], episodes: Mapping[tuple[Kind, int], Episode]
) -> Iterator[Finding]:
    """`findings` (of each symbol in time order) without large moves that are no larger than one before."""
    highest: dict[tuple[str, bool, int], float] = {}
    for finding in findings:
        if finding.kind is Kind.LARGE_MOVE:
            rises = log_move(table, finding.before, finding.at) > 0
            episode = episodes[finding.kind, finding.at].id
            key = (episode, rises, day_of(int(table.moments[finding.at])))
            if finding.score <= highest.get(key, 0.0):
                continue
            highest[key] = finding.score
        yield finding
