"""The picture of the report: recall against the size of the jump in the irregular world."""

from pathlib import Path

from benchmarks.anomalies.contenders import LIBRARIES, OURS, RULES
from benchmarks.anomalies.synthetic import BAYES, ORACLE, Outcome
from benchmarks.anomalies.worlds import JUMP_SIZES, World

# Name, colour, line style; those that overlap near zero are one group to the eye.
_LINES = {
    ORACLE: ("#9a9a9a", ":"),
    BAYES: ("#222222", "--"),
    OURS[1].name: ("#0b66c3", "-"),
    RULES[0].name: ("#d9822b", "-"),
    RULES[1].name: ("#b5651d", "-."),
    RULES[2].name: ("#7a9e3f", "-"),
    **dict(zip((each.name for each in LIBRARIES[:2]), (("#a23b72", "-"), ("#6f5bb5", "-")), strict=False)),
}


def draw(world: World, outcomes: list[Outcome], path: Path) -> None:
    """Write the picture, one panel for each false alarm rate."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    by_name = {outcome.detector: outcome for outcome in outcomes}
    rates = list(outcomes[0].recalls)
    figure, panels = pyplot.subplots(1, len(rates), figsize=(12, 5.6), dpi=100, sharey=True)
    for rate, panel in zip(rates, panels, strict=True):
        for name, (colour, style) in _LINES.items():
            found = by_name[name].recalls[rate]
            panel.errorbar(JUMP_SIZES, found.recalls, found.errors, label=name, color=colour, linestyle=style,
                           marker="o", markersize=4, capsize=2, linewidth=2)
        panel.set_title(f"{rate} false alarm{'s' if rate > 1 else ''} per 10,000 quotes")
        panel.set_xlabel("size of the jump, local standard deviations")
        panel.set_ylim(-0.02, 1.02)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of jumps found")
    figure.suptitle(f"Jumps found in {world.title}")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=4, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)
