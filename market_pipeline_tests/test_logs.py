"""Log lines: one JSON object or one readable line each, in UTC, with what is bound, each once."""

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import market_pipeline
from market_pipeline.logs import at_least, bound, get_logger, log_to_stderr, root_handler, write_line
from market_pipeline_tests.logging_state import restored

PACKAGE = Path(market_pipeline.__file__).parent
UUID = "03d3b8f4-ec4b-4823-92f8-61b0af95ca1c"
Written = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def text(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Configures for JSON; what went to standard error since."""
    heard: list[str] = []

    def read() -> str:
        heard.append(capsys.readouterr().err)
        return "".join(heard)

    with restored():
        for name in ("", "market_pipeline", "uvicorn", "dagster"):
            logging.getLogger(name).handlers[:] = []
        log_to_stderr("INFO", "json")
        yield read


@pytest.fixture
def written(text: Callable[[], str]) -> Written:
    """The same, parsed."""
    return lambda: [json.loads(line) for line in text().splitlines()]


@pytest.fixture
def readable(text: Callable[[], str]) -> Callable[[], str]:
    """Configures for a terminal."""
    log_to_stderr("INFO", "console")
    return text


logger = get_logger("market_pipeline.testing")


def write(record: logging.LogRecord) -> None:
    """Give the record to our handler alone."""
    handler = root_handler()
    assert handler is not None
    handler.handle(record)


def test_a_line_carries_time_level_logger_message_and_extras(written: Written) -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)
    logger.info("Stored %s rows", 5, extra={"symbol": "BTC", "duration_ms": 1.5})
    (line,) = written()
    assert list(line)[:4] == ["timestamp", "level", "logger", "message"]
    assert line["message"] == "Stored 5 rows"
    assert (line["level"], line["logger"]) == ("INFO", "market_pipeline.testing")
    assert (line["symbol"], line["duration_ms"]) == ("BTC", 1.5)
    assert line["timestamp"].endswith("Z") and len(line["timestamp"]) == len("2026-11-23T12:00:00.000Z")
    assert before <= datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")) <= datetime.now(timezone.utc)
    assert "trace_id" not in line


def test_what_is_bound_stands_in_every_line_and_extras_win(written: Written) -> None:
    with bound(trace_id="a", client_ip="::1", symbol="ETH"):
        logger.warning("one")
        with bound(trace_id="b"):
            logger.warning("two", extra={"symbol": "BTC"})
    one, two = written()
    assert (one["trace_id"], one["client_ip"], one["symbol"]) == ("a", "::1", "ETH")
    assert (two["trace_id"], two["client_ip"], two["symbol"]) == ("b", "::1", "BTC")


def test_extras_cannot_take_the_place_of_time_level_logger_and_message(written: Written) -> None:
    with bound(level="bound", timestamp="bound"):
        logger.info("true", extra={"level": "false", "logger": "false", "timestamp": "false"})
    (line,) = written()
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "market_pipeline.testing", "true")
    assert line["timestamp"].endswith("Z")


def test_an_exception_and_a_stack_stay_on_their_line(written: Written) -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("boom") from error
    except ValueError:
        logger.exception("Failed", stack_info=True)
    (line,) = written()
    assert line["message"] == "Failed"
    for text in ("KeyError: 'first'", "direct cause", "ValueError: boom"):
        assert text in line["exc_info"]
    assert "test_an_exception_and_a_stack" in line["stack_info"]


def test_values_of_every_kind_are_json(written: Written) -> None:
    extra: Any = {"n": np.int64(3), "x": float("inf"), "path": Path("a"), "set": {1}, "bytes": b"\xff", 5: "number"}
    logger.info("odd", extra=extra)
    line = written()[0]
    assert (line["n"], line["x"], line["path"], line["set"], line["bytes"], line["5"]) == (
        3, "inf", "a", [1], "\\xff", "number",
    )


class Unspeakable(dict[str, Any]):
    def _fail(self) -> Any:
        raise ArithmeticError

    __str__ = __iter__ = items = _fail


def test_arguments_that_do_not_fit_are_told_and_end_nothing(written: Written) -> None:
    logger.info("%d rows of %s", "many")
    logger.info(Unspeakable())
    write(logging.LogRecord("library", logging.WARNING, "", 0, "%d rows", ("many",), None))
    write(logging.makeLogRecord({"name": "library", "levelno": 30, "msg": {"message": "a", "b": 1}}))
    own, object_, library, mapping = [line["message"] for line in written()]
    assert own == "%d rows of %s (its arguments do not fit: TypeError)"
    assert object_.startswith("<Unspeakable that cannot be shown: ArithmeticError>")
    assert library == "%d rows (its arguments do not fit: TypeError)"
    assert mapping == "{'message': 'a', 'b': 1}"


def test_what_cannot_be_shown_ends_nothing(written: Written) -> None:
    logger.info("own", extra={"field": Unspeakable()})
    with bound(field=Unspeakable(a=1)):
        logger.info("bound")
        logging.getLogger("library").warning("another's")
    told = written()
    assert [line["message"] for line in told] == ["own", "bound", "another's"]
    assert {line["field"] for line in told} == {"<Unspeakable that cannot be shown: ArithmeticError>"}


def test_an_error_whose_own_code_fails_is_told_all_the_same(written: Written) -> None:
    class Worst(Exception):
        @property
        def __cause__(self) -> BaseException | None:  # type: ignore[override]  # its own code is what fails
            raise ArithmeticError("secret")

    error = Worst()
    for name in (logger.name, "library"):
        record = logging.LogRecord(name, logging.ERROR, "", 0, "failed", (), (Worst, error, None))
        # Not through the loggers: pytest's own handler would fail.
        logging.getLogger(name).filter(record)
        write(record)
    own, library = written()
    assert own["message"] == library["message"] == "failed"
    assert own["exc_info"] == library["exc_info"]
    assert own["exc_info"].endswith("Worst'> (its traceback cannot be shown: ArithmeticError)")


def test_a_record_that_is_none_is_told_without_its_words(written: Written) -> None:
    write(logging.makeLogRecord({"name": "library", "levelno": 30, "msg": "words", "created": "now"}))
    assert [line["message"] for line in written()] == ["A line of library cannot be shown: TypeError"]


def test_the_level_is_that_of_the_package_and_others_only_warn(written: Written) -> None:
    log_to_stderr("DEBUG", "json")
    for name in ("market_pipeline.x", "uvicorn.error", "urllib3", "dagster.daemon"):
        other = logging.getLogger(name)
        other.setLevel("DEBUG")
        try:
            other.debug("debug")
            other.warning("warning")
        finally:
            other.setLevel("NOTSET")
    assert [(line["logger"], line["message"]) for line in written()] == [
        ("market_pipeline.x", "debug"), ("market_pipeline.x", "warning"),
        ("uvicorn.error", "debug"), ("uvicorn.error", "warning"),
        ("urllib3", "warning"), ("dagster.daemon", "warning"),
    ]


def test_configuring_twice_writes_every_line_once_and_the_last_call_counts(written: Written) -> None:
    log_to_stderr("INFO", "json")
    log_to_stderr("WARNING", "json")
    logger.info("not this")
    logger.warning("this")
    assert [line["message"] for line in written()] == ["this"]


def test_a_block_may_let_only_warnings_through_while_other_handlers_hear_all(
    written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("market_pipeline").addHandler(caplog.handler)
    with at_least(logging.WARNING):
        logger.info("quiet")
        logger.warning("loud")
    logger.info("after")
    assert [line["message"] for line in written()] == ["loud", "after"]
    assert {record.message for record in caplog.records} >= {"quiet", "loud", "after"}


def test_the_handlers_that_dagster_has_given_its_loggers_write_our_form_once(written: Written) -> None:
    """So it is in a code server: Dagster's command has configured its loggers before it loads our code."""
    own = io.StringIO()
    logging.getLogger("dagster").addHandler(logging.StreamHandler(own))
    log_to_stderr("INFO", "json")
    logging.getLogger("dagster.code_server").error("gone")
    assert written() == []
    (line,) = [json.loads(text) for text in own.getvalue().splitlines()]
    assert (line["logger"], line["level"], line["message"]) == ("dagster.code_server", "ERROR", "gone")


def test_warnings_of_libraries_are_lines(written: Written) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # pytest's own way of catching warnings is in force here, so logging is told again.
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    (line,) = written()
    assert (line["logger"], line["level"]) == ("py.warnings", "WARNING")
    assert "DeprecationWarning: old way" in line["message"]


def test_text_for_a_terminal_is_one_line_with_its_fields_and_the_traceback_below(readable: Callable[[], str]) -> None:
    with bound(trace_id=UUID, run_id=UUID, partition="2026-11-23|BTC"):
        try:
            raise ValueError("boom")
        except ValueError:
            logger.exception("Not stored", extra={"rows_affected": 0, "said": "a b", "none": None, "empty": ""})
    first, *rows = readable().splitlines()
    time, rest = first.split(" ", 1)
    assert time.endswith("Z")
    assert rest == (
        f"ERROR   market_pipeline.testing Not stored trace_id={UUID} partition=2026-11-23|BTC rows_affected=0 "
        'said="a b" none=null empty=""'
    )
    assert rows[0] == "    Traceback (most recent call last):" and rows[-1] == "    ValueError: boom"


def test_a_message_cannot_forge_a_line_nor_command_the_terminal(readable: Callable[[], str]) -> None:
    logger.info("GET /\n2026 INFO market_pipeline forged\x1b[2J\r\u2028", extra={"path": "/\n\x1b", "a\nb": 1})
    assert readable().count("\n") == 1
    assert "\x1b" not in readable() and "\r" not in readable() and "\u2028" not in readable()
    assert r"\n2026 INFO market_pipeline forged\x1b[2J\r\u2028" in readable()
    # Not through its logger: pytest keeps what it hears, and its workers cannot pass half a character on.
    odd = logging.LogRecord("a\nb", logging.WARNING, "", 0, "turned \u202e around, half \ud800", (), None)
    write(odd)
    assert r"a\nb turned \u202e around, half \ud800" in readable() and readable().count("\n") == 2


def test_a_line_of_another_process_is_written_as_this_one_writes_its_own(
    written: Written, text: Callable[[], str]
) -> None:
    fields = {"timestamp": "t", "level": "INFO", "logger": "other", "message": "hello", "n": 1}
    write_line(fields)
    assert written() == [fields]
    log_to_stderr("INFO", "console")
    write_line(fields)
    assert text().splitlines()[1] == "t INFO    other hello n=1"


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_a_standard_error_that_nobody_reads_ends_nothing(
    written: Written, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    for stream in (Gone(), None):
        monkeypatch.setattr("sys.stderr", stream)
        logger.error("into the void")


def test_the_stream_is_what_standard_error_is_at_the_time(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    logger.info("here")
    other = io.StringIO()
    monkeypatch.setattr("sys.stderr", other)
    logger.info("there")
    assert json.loads(other.getvalue())["message"] == "there"


def test_lines_of_many_threads_do_not_mix(written: Written) -> None:
    def work(number: int) -> None:
        for _ in range(50):
            logger.info("%s", "x" * 3000, extra={"n": number})

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written()) == 400


UNCAUGHT = {
    "main": ("fail()", "CRITICAL", "Uncaught error"),
    "thread": (
        "t = threading.Thread(target=fail, name='worker'); t.start(); t.join()",
        "CRITICAL", "Uncaught error in thread worker",
    ),
    "end": ("class Last: __del__ = fail\nLast()", "ERROR", "Exception ignored in: <function fail at 0x"),
}


@pytest.mark.parametrize("where", UNCAUGHT)
def test_an_error_that_nobody_caught_is_a_line(where: str) -> None:
    work, level, message = UNCAUGHT[where]
    code = (
        "import threading\nfrom market_pipeline.logs import log_to_stderr\n"
        "log_to_stderr('INFO', 'json', ['Kanarienvogel7'])\n"
        "def fail(*it): raise RuntimeError('with Kanarienvogel7')\n"
    ) + work
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    (line,) = [json.loads(text) for text in done.stderr.splitlines()]
    assert line["level"] == level and "RuntimeError: with [hidden]" in line["exc_info"]
    assert line["message"].startswith(message) and "Kanarienvogel" not in done.stderr


def test_hooks_of_others_stay_and_the_usual_ones_become_ours(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks and test runners have hooks of their own."""
    monkeypatch.setattr("sys.excepthook", len)
    monkeypatch.setattr("threading.excepthook", len)
    monkeypatch.setattr("sys.unraisablehook", len)
    log_to_stderr("INFO", "json")
    hooks: list[object] = [sys.excepthook, threading.excepthook, sys.unraisablehook]
    assert hooks == [len, len, len]
    monkeypatch.setattr("sys.excepthook", sys.__excepthook__)
    monkeypatch.setattr("threading.excepthook", threading.__excepthook__)
    monkeypatch.setattr("sys.unraisablehook", sys.__unraisablehook__)
    log_to_stderr("INFO", "json")
    sys.excepthook(ValueError, ValueError("boom"), None)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    for kind in (ValueError, SystemExit):
        threading.excepthook(threading.ExceptHookArgs((kind, kind("in thread"), None, None)))
    assert [(line["level"], line["message"]) for line in written()] == [
        ("CRITICAL", "Uncaught error"), ("WARNING", "Interrupted."),
        ("CRITICAL", "Uncaught error in thread unknown"),
    ]


def test_an_interrupt_that_nobody_caught_is_one_word() -> None:
    code = "from market_pipeline.logs import log_to_stderr\nlog_to_stderr('INFO', 'json')\nraise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    (line,) = [json.loads(text) for text in done.stderr.splitlines()]
    assert (line["level"], line["message"]) == ("WARNING", "Interrupted.")


def test_every_module_takes_its_logger_from_one_place() -> None:
    """A logger without the filter could show a secret to a handler that is not ours."""
    allowed = {
        # Watches or quiets loggers without writing to them.
        "alerts/receivers.py": 'getLogger("',
            "coingecko/transport.py": 'getLogger("urllib3.connection")',
        "commands/progress.py": "getLogger(ROOT)",
        "defs/logging/run_console.py": "getLogger(ROOT)",
    }
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        text = file.read_text()
        if name.startswith("logs/") or "getLogger(" not in text:
            continue
        assert name in allowed and text.count("getLogger(") == text.count(allowed[name]), name


def test_where_logging_is_not_configured_nothing_is_lost_or_done() -> None:
    with restored():
        logging.getLogger().handlers[:] = []
        assert root_handler() is None
        write_line({"message": "nowhere"})
        with at_least(logging.ERROR):
            assert root_handler() is None
