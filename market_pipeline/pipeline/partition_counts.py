"""How many partitions an asset has, today and in a year, against what Dagster handles well."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from market_pipeline.core.wording import counted
from market_pipeline.settings import Settings

# Dagster's own recommendation; docs/scale.md has what this project measured.
MOST_PARTITIONS = 100_000
_YEAR = timedelta(days=365)


@dataclass(frozen=True)
class PartitionCounts:
    """The partitions of an asset: `days` of each symbol, `today` and `in_a_year`.

    `full_on` is the day on which there will be more than `MOST_PARTITIONS`, if that comes.
    """

    days: int
    today: int
    in_a_year: int
    full_on: date


def partition_counts(settings: Settings, now: datetime) -> PartitionCounts:
    """Count the partitions of an asset at `now` (aware UTC)."""
    symbols = len(settings.catalogue.symbols)
    days, later = (
        (then.date() - settings.first_day(then)).days + 1 for then in (now, now + _YEAR)
    )
    full_on = settings.history_start + timedelta(days=MOST_PARTITIONS // symbols)
    return PartitionCounts(days, symbols * days, symbols * later, full_on)


def partitions_of(settings: Settings, counts: PartitionCounts) -> str:
    """Print how many partitions an asset has, and why."""
    symbols = counted(len(settings.catalogue.symbols), "symbol")
    return f"{counts.today:,} partitions an asset ({symbols} x {counted(counts.days, 'day')})"


def too_many(settings: Settings, counts: PartitionCounts) -> tuple[str, str]:
    """Return what is wrong with `counts` above `MOST_PARTITIONS`, today or within a year, and the remedy."""
    when = "" if counts.today > MOST_PARTITIONS else f"from {counts.full_on} on "
    days = max(30, MOST_PARTITIONS // len(settings.catalogue.symbols))
    return (
        f"{partitions_of(settings, counts)}; {when}there are more than the {MOST_PARTITIONS:,} that Dagster handles "
        "well: the UI, each run and each restart become slower",
        f"Set PARTITION_DAYS={days}, which keeps all prices, or HISTORY_START later, or fewer MARKET_SYMBOLS.",
    )
