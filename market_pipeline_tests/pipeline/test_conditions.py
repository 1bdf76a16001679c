"""What is wrong according to the facts: each kind of condition, and its sentences in `conditions.txt`.

After a change of wording run with UPDATE_SENTENCES=1 and read the difference.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import get_args

import pytest

from market_pipeline.budget.status import BudgetStatus
from market_pipeline.pipeline.conditions import Kind, conditions, status_of
from market_pipeline.pipeline.facts import (
    SCHEDULER,
    AutomationState,
    DagsterFacts,
    DiskSpace,
    FailedCheck,
    FailedRun,
    InstallationState,
    JobState,
    PriceFacts,
    judged,
)
from market_pipeline.pipeline.names import automations

FILE = Path(__file__).parent / "conditions.txt"
NOW = datetime(2026, 11, 23, 12, 26, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
Change = Callable[[InstallationState], InstallationState]


def ago(minutes: float) -> datetime:
    return NOW - minutes * MINUTE


def beats(scheduler: float | None, other: float | None, error: str | None = None) -> Change:
    """The daemons that reported so many minutes ago, None never."""
    reports = {SCHEDULER: scheduler, "SENSOR": other}
    found = judged({name: (None if age is None else ago(age), error) for name, age in reports.items()}, NOW)
    return dagster(daemons=found)


def dagster(**changes: object) -> Change:
    def change(state: InstallationState) -> InstallationState:
        assert state.dagster is not None
        return replace(state, dagster=replace(state.dagster, **changes))  # type: ignore[arg-type]  # by name

    return change


def schedule(position: int, **changes: object) -> Change:
    def change(state: InstallationState) -> InstallationState:
        assert state.dagster is not None
        states = list(state.dagster.automations)
        states[position] = replace(states[position], **changes)  # type: ignore[arg-type]  # by name
        return dagster(automations=states)(state)

    return change


def failed(job: str, minutes: float = 5, reason: str = "OSError: disk", ours: bool = False, **checks: str) -> Change:
    run = FailedRun(ago(minutes), "0a1b2c3d-run", tuple(checks.items()), reason, ours)
    return dagster(jobs=[JobState(job, ago(70), run)])


def prices(**changes: object) -> Change:
    return lambda state: replace(state, prices=replace(state.prices, **changes))  # type: ignore[arg-type]  # by name


def state(**changes: object) -> Change:
    return lambda state: replace(state, **changes)  # type: ignore[arg-type]  # by name


def credits_left(number: int) -> Change:
    renews = datetime(2026, 12, 1, tzinfo=timezone.utc)
    budget = BudgetStatus(NOW, 30, 30, 0, None, "", 10_000, 10_000 - number, number, 2_200, renews)
    return lambda state: replace(state, budget=budget)


def changed(*changes: Change) -> InstallationState:
    """An installation in which all is well, with these changes."""
    facts = PriceFacts(NOW, ago(14), {"BTC": ago(1), "ETH": ago(2)}, {"BTC": ago(1), "ETH": ago(2)}, {})
    working = [AutomationState(each, True, ago(1), "success") for each in automations("*/5 * * * *")]
    everything = InstallationState(facts, DagsterFacts([], working, [JobState("tick", ago(1), None)]), ago(90), ago(86))
    for change in (beats(1, 1), *changes):
        everything = change(everything)
    return everything


STALE = prices(newest={"BTC": ago(40), "ETH": ago(2)})
UNSCORED = prices(scored={"BTC": ago(60), "ETH": ago(2)}, waiting={"BTC": ago(30)})
NOTHING = prices(newest={"BTC": None, "ETH": None}, scored={"BTC": None, "ETH": None})
STARTED = state(started=ago(2), first_tick=ago(1))
KINDS: dict[str, tuple[Kind | None, list[Change]]] = {
    "nothing": (None, []),
    "no price yet": ("no-prices-yet", [NOTHING]),
    "unreadable storage": ("dagster-unreadable", [state(dagster=None)]),
    "another scheduler": ("collected-elsewhere", [beats(None, None)]),
    "no scheduler, stale": ("never-scheduled", [beats(None, None), STALE]),
    "dead scheduler": ("scheduler-dead", [beats(4, 4, "OSError"), STALE, UNSCORED]),
    "dead daemon": ("daemon-dead", [beats(1, 31)]),
    "daemon that never reported": ("daemon-dead", [beats(1, None)]),
    "daemons with errors": ("daemon-errors", [beats(1, 1, "ValueError: secret")]),
    "schedule off": ("schedule-off", [schedule(1, on=False)]),
    "schedule not evaluated": ("schedule-silent", [schedule(0, evaluated_at=ago(180))]),
    "schedule evaluated by a clock that was ahead": ("schedule-silent", [schedule(0, evaluated_at=ago(-180))]),
    "evaluation failed": ("evaluation-failed", [schedule(0, outcome="failure", reason="OSError", worked_at=ago(9))]),
    "sensor failed yesterday": ("evaluation-failed", [schedule(5, outcome="failure", worked_at=ago(1500))]),
    "ticks fail": ("tick-failed", [failed("tick")]),
    "ticks fail with a reason of ours": ("tick-failed", [failed("tick", reason="No prices: why.", ours=True)]),
    "check failed, with consequences": (
        "check-failed", [failed("tick", no_future_timestamps="1 quote lies in the future."), UNSCORED],
    ),
    "ticks fail, with consequences": ("tick-failed", [failed("tick"), STALE]),
    "completions fail": ("job-failed", [failed("complete_days")]),
    "runs by hand fail": ("job-failed", [failed("__ASSET_JOB")]),
    "stale, unreadable storage": ("stale-prices", [state(dagster=None), STALE]),
    "stale, not collected": ("not-collected", [STALE, state(collected_at=ago(180))]),
    "stale, not collected today": ("not-collected", [STALE]),
    "stale, refused": ("prices-refused", [STALE, prices(refused=frozenset({"BTC"}))]),
    "stale, quiet market": ("quiet-market", [STALE, state(collected_at=ago(1))]),
    "stale, one without a price": (
        "quiet-market", [prices(newest={"BTC": None, "ETH": ago(2)}), state(collected_at=ago(1))],
    ),
    "stale at the start": ("starting", [STALE, STARTED]),
    "scores behind": ("scores-behind", [UNSCORED]),
    "an ERROR that does not block": (
        "check-error", [dagster(checks=[FailedCheck("every_symbol_quoted", "ADA: no quote stored for 2026-11-23.")])],
    ),
    "little space": ("disk-low", [state(disks=[DiskSpace("the database", 900_000_000)])]),
    "no space": ("disk-low", [state(disks=[DiskSpace("Dagster's storage", 50_000_000)])]),
    "few credits": ("credits-low", [credits_left(400)]),
}


@pytest.mark.parametrize(("kind", "changes"), KINDS.values(), ids=KINDS)
def test_a_cause_is_one_condition_of_its_kind(kind: Kind | None, changes: list[Change]) -> None:
    found = conditions(changed(*changes))
    expected = ["dagster-unreadable", kind] if kind == "stale-prices" else [kind] if kind else []
    assert [condition.kind for condition in found] == expected
    unknown = kind in ("dagster-unreadable", "collected-elsewhere")
    assert status_of(found) == ("unknown" if unknown else "degraded" if kind else "ready")


def test_each_kind_has_its_sentences() -> None:
    """And none of them repeats the text of a foreign error, which may be a secret."""
    assert {kind for kind, _ in KINDS.values()} == {None, *get_args(Kind)}
    found = {name: conditions(changed(*changes)) for name, (_, changes) in KINDS.items()}
    text = "".join(
        f"{name}:\n" + "".join(f"    {condition.text}\n" for condition in several) for name, several in found.items()
    )
    if os.environ.get("UPDATE_SENTENCES"):
        FILE.write_text(text)
    assert text == FILE.read_text()
    assert "OSError" not in text and "ValueError" not in text
    assert [condition.quoted for condition in found["ticks fail"]] == ["OSError: disk"]


@pytest.mark.parametrize(("changes", "kinds"), [
    ([failed("complete_days", 24 * 60)], ["job-failed"]),
    ([failed("complete_days", 26 * 60)], []),
    ([failed("tick", 26 * 60)], ["tick-failed"]),
    ([STARTED, failed("tick", 3), UNSCORED, schedule(0, evaluated_at=ago(180))], []),
    ([STARTED, failed("tick", 1)], ["tick-failed"]),
    ([STARTED, STALE, state(collected_at=ago(1))], ["starting"]),
    ([beats(4, 4), schedule(0, evaluated_at=ago(180))], ["scheduler-dead"]),
    ([NOTHING, failed("tick")], ["tick-failed"]),
    ([schedule(4, evaluated_at=None), schedule(1, evaluated_at=ago(60 * 30))], []),
    ([schedule(0, on=False), UNSCORED, STALE], ["schedule-off"]),
    ([beats(1, 31), failed("complete_days"), UNSCORED], ["daemon-dead", "job-failed", "scores-behind"]),
], ids=lambda value: None)
def test_remains_of_an_earlier_start_and_consequences_are_left_out(changes: list[Change], kinds: list[Kind]) -> None:
    assert [condition.kind for condition in conditions(changed(*changes))] == kinds


@pytest.mark.parametrize(("scheduler", "other", "alive"), [
    (3, 30.5, (True, True)),
    (3.1, 3, (False, True)),
    (3, 30.6, (True, False)),
    (10, 10, (False, False)),
    (None, 1, (False, True)),
    (1, None, (True, False)),
])
def test_a_long_silence_means_a_busy_daemon_only_while_the_scheduler_lives(
    scheduler: float | None, other: float | None, alive: tuple[bool, bool]
) -> None:
    """They are threads of one process: one cannot be busy in a process that is gone."""
    dagster_facts = changed(beats(scheduler, other)).dagster
    assert dagster_facts is not None
    assert tuple(beat.alive for beat in dagster_facts.daemons) == alive
    assert dagster_facts.scheduler_alive is alive[0]
