"""How many partitions there are, and what is said before there are too many."""

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from market_pipeline.doctor.context import DoctorContext
from market_pipeline.doctor.settings import examine_partitions
from market_pipeline.pipeline.partition_counts import partition_counts
from market_pipeline.settings import Settings, load_settings

NOW = datetime(2026, 11, 30, 5, tzinfo=timezone.utc)
LAST = NOW.date()


def settings_of(symbols: int, days: int, partition_days: int | None = None) -> Settings:
    names = ",".join(f"S{number}=coin-{number}" for number in range(symbols))
    start = LAST - timedelta(days=days - 1)
    return load_settings(None, market_symbols=names, history_start=start, partition_days=partition_days)


@pytest.mark.parametrize(
    ("symbols", "days", "partition_days", "today", "in_a_year"),
    [(5, 365, None, 1_825, 3_650), (250, 365, None, 91_250, 182_500), (1_000, 90, 90, 90_000, 90_000)],
)
def test_partitions_of_today_and_of_a_year_from_now(
    symbols: int, days: int, partition_days: int | None, today: int, in_a_year: int
) -> None:
    counts = partition_counts(settings_of(symbols, days, partition_days), NOW)
    assert (counts.today, counts.in_a_year) == (today, in_a_year)


@pytest.mark.parametrize(
    ("symbols", "days", "partition_days", "said"),
    [
        (5, 365, None, "1,825 partitions an asset (5 symbols x 365 days), 3,650 in a year"),
        (1_000, 400, 90, "90,000 partitions an asset (1,000 symbols x 90 days), 90,000 in a year"),
        (250, 365, None, "from 2027-01-05 on there are more than the 100,000"),
        (1_000, 365, None, "(1,000 symbols x 365 days); there are more than the 100,000"),
    ],
)
def test_too_many_partitions_are_said_with_the_day_and_a_remedy_that_helps(
    symbols: int, days: int, partition_days: int | None, said: str
) -> None:
    context = DoctorContext(Path(), {}, clock=lambda: NOW)
    context.settings = settings_of(symbols, days, partition_days)
    (diagnosis,) = examine_partitions(context)
    assert said in diagnosis.detail
    if diagnosis.status == "warn":
        remedy = int(diagnosis.remedy.partition("PARTITION_DAYS=")[2].partition(",")[0])
        assert partition_counts(settings_of(symbols, days, remedy), NOW).in_a_year <= 100_000


def test_the_first_day_moves_on_with_time_and_never_before_the_start_of_history() -> None:
    settings = settings_of(5, 365, 90)
    assert settings.first_day(NOW) == date(2026, 9, 2)
    assert settings.first_day(NOW + timedelta(days=30)) == date(2026, 10, 2)
    short = settings_of(5, 40, 90)
    assert short.first_day(NOW) == short.history_start == settings_of(5, 40).first_day(NOW)
