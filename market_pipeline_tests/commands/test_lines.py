"""Rows that other processes write become lines: none is lost, tracebacks stay in one piece."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest

from market_pipeline.commands.children.relay import Assembler, Fields
from market_pipeline.core.clock import Clock

DEEP = '{"timestamp": ' + "[" * 100_000
NOW = datetime(2026, 11, 23, 12, 0, 0, 123000, timezone.utc)
RUN = "5022762a-5a34-4460-87cd-825d8b5dec5e"
OWN = {
    "timestamp": "2026-11-23T11:59:59.000Z", "level": "WARNING", "logger": "market_pipeline.x", "message": "m", "n": 1,
}
TRACEBACK = """Traceback (most recent call last):
  File "a.py", line 1, in <module>
    fail()
KeyError: 'first'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 2, in <module>
    raise ValueError("second")
ValueError: second"""


def lines_of(text: str, clock: Clock = lambda: NOW) -> list[Fields]:
    assembler = Assembler("dagster", clock)
    lines = [line for row in text.splitlines(keepends=True) for line in assembler.feed(row)]
    assert assembler.waiting or not text.strip() or lines
    lines += assembler.flush()
    assert not assembler.waiting and list(assembler.flush()) == []
    return lines


def dagster(
    message: str, level: str = "INFO", when: str = "2026-11-23 13:00:00 +0100", colour: bool = True
) -> str:
    text = f"{when} - dagster.daemon - {level} - {message}"
    return f"\x1b[32m{text[:25]}\x1b[0m{text[25:]}\x1b[0m\n" if colour else text + "\n"


def test_a_line_of_the_package_passes_unchanged() -> None:
    assert lines_of(json.dumps(OWN) + "\n") == [OWN]


def test_a_line_of_dagster_has_our_fields() -> None:
    (line,) = lines_of(dagster("Launching Dagster services..."))
    assert line == {
        "timestamp": "2026-11-23T12:00:00.123Z", "level": "INFO", "logger": "dagster.daemon",
        "message": "Launching Dagster services...",
    }


@pytest.mark.parametrize("hours", [0, 5])
def test_a_row_that_was_held_up_keeps_its_own_time(hours: int) -> None:
    (line,) = lines_of(dagster("x", when="2026-11-23 06:00:00 -0500"), lambda: NOW + timedelta(hours=hours))
    assert line["timestamp"] == ("2026-11-23T11:00:00.000Z")


def test_a_line_about_a_run_carries_its_id() -> None:
    (line,) = lines_of(dagster(f"Completed launch of run {RUN} for repair_sensor"))
    assert line["trace_id"] == line["run_id"] == RUN


def test_a_traceback_belongs_to_the_error_before_it() -> None:
    first, second = lines_of(dagster("Sensor failed", "ERROR") + TRACEBACK + "\n" + dagster("next", colour=False))
    assert (first["level"], first["message"], first["exc_info"]) == ("ERROR", "Sensor failed", TRACEBACK)
    assert second["message"] == "next" and "exc_info" not in second


def test_a_traceback_after_anything_else_is_a_line_of_its_own() -> None:
    first, second = lines_of(dagster("Started") + TRACEBACK)
    assert first["message"] == "Started" and "exc_info" not in first
    assert (second["level"], second["logger"], second["message"]) == ("ERROR", "dagster", "ValueError: second")
    assert second["exc_info"] == TRACEBACK


def test_a_traceback_is_named_by_its_error_whatever_stack_is_below_that() -> None:
    (line,) = lines_of(f"{TRACEBACK}\n\nStack Trace:\n  File y.py\n    raise Exception(")
    assert line["message"] == TRACEBACK.splitlines()[-1] and line["exc_info"].endswith("raise Exception(")


def test_lines_of_others_do_not_cut_a_traceback() -> None:
    rows = TRACEBACK.splitlines()
    mixed = "\n".join([rows[0], rows[1], json.dumps(OWN), *rows[2:]])
    assert [line["message"] for line in lines_of(mixed)] == ["m", "ValueError: second"]
    assert lines_of(mixed)[1]["exc_info"] == TRACEBACK


def test_after_a_finished_text_the_order_stays() -> None:
    text = dagster("one") + json.dumps(OWN) + "\nplain\n" + json.dumps(OWN)
    assert [line["message"] for line in lines_of(text)] == ["one", "m", "plain", "m"]


@pytest.mark.parametrize(("text", "level", "message"), [
    ("hello\n", "INFO", "hello"),
    ("\n\n  indented\n", "INFO", "  indented"),
    ("a.py:1: UserWarning: careful\n  do()\n", "WARNING", "a.py:1: UserWarning: careful\n  do()"),
    ('{"event": "other", "timestamp": 1}\n', "INFO", '{"event": "other", "timestamp": 1}'),
    ('{"timestamp": "broken\n', "INFO", '{"timestamp": "broken'),
    ('{"timestamp": "t", "level": "INFO"}\n', "INFO", '{"timestamp": "t", "level": "INFO"}'),
    ("2026-13-45 99:00:00 +9999 - a - INFO - b\n", "INFO", "2026-13-45 99:00:00 +9999 - a - INFO - b"),
    (DEEP, "INFO", DEEP),
])
def test_any_other_text_is_wrapped(text: str, level: str, message: str) -> None:
    (line,) = lines_of(text)
    assert (line["logger"], line["level"], line["message"]) == ("dagster", level, message)
    assert line["timestamp"] == "2026-11-23T12:00:00.123Z"


@pytest.mark.parametrize("end", [
    "KeyboardInterrupt", "dagster._core.errors.DagsterExecutionInterruptedError",
])
def test_an_interruption_is_not_an_error(end: str) -> None:
    (line,) = lines_of("Traceback (most recent call last):\n  File \"a.py\", line 1\n" + end + "\n")
    assert (line["level"], line["message"]) == ("INFO", "Interrupted.") and "exc_info" not in line


def test_an_error_that_only_mentions_an_interrupt_stays_an_error() -> None:
    (line,) = lines_of("Traceback (most recent call last):\n  File \"a.py\"\nValueError: KeyboardInterrupt\n")
    assert line["message"] == "ValueError: KeyboardInterrupt" and "exc_info" in line


def test_rows_of_a_text_of_dagster_stay_together_and_those_of_others_apart() -> None:
    lines = lines_of("one\ntwo\n  of two\nthree\n" + dagster("failed", "ERROR") + "why\nand how\n")
    assert [line["message"] for line in lines] == ["one", "two\n  of two", "three", "failed\nwhy\nand how"]


def test_text_without_an_end_does_not_pile_up() -> None:
    lines = lines_of(dagster("row") + "row\n" * 2499)
    counts = [line["message"].count("row") for line in lines]
    assert counts[0] == 1000 and sum(counts) == 2500


def test_nothing_comes_of_nothing() -> None:
    assert lines_of("\n\n") == []


def test_ticks_that_were_missed_while_the_daemon_was_stopped_are_no_warning() -> None:
    warning = "has no partition set, so not trying to catch up"
    source = Path(dg.__file__).with_name("_scheduler") / "scheduler.py"
    assert warning in source.read_text(encoding="utf-8"), "the text is Dagster's"
    (line,) = lines_of(dagster(f"tick_schedule {warning}", "WARNING"))
    assert (line["level"], line["message"]) == ("INFO", "tick_schedule missed ticks; one run makes up for them.")
