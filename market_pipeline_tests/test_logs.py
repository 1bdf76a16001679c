"""Log lines: one JSON object each, in UTC, with the trace id of the work at hand."""

import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from market_pipeline.logs import LineFormatter, configure_logging, traced


@pytest.fixture
def lines():
    """A logger below the package's and what it wrote, parsed."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter("%(message)s"))
    logger = logging.getLogger("market_pipeline.testing")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield logger, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel("NOTSET")


def test_a_line_carries_time_level_logger_message_and_extras(lines):
    logger, written = lines
    logger.info("Stored %s rows", 5, extra={"symbol": "BTC", "duration_ms": 1.5})
    line = written()[0]
    assert line["message"] == "Stored 5 rows"
    assert (line["level"], line["logger"]) == ("INFO", "market_pipeline.testing")
    assert (line["symbol"], line["duration_ms"]) == ("BTC", 1.5)
    assert line["timestamp"].endswith("Z")
    assert "trace_id" not in line


def test_an_exception_stays_on_its_line(lines):
    logger, written = lines
    try:
        raise ValueError("boom")
    except ValueError:
        logger.exception("Failed")
    assert "ValueError: boom" in written()[0]["exc_info"]


def test_the_trace_id_does_not_leak_into_other_work(lines):
    logger, written = lines

    def work(name):
        with traced(name):
            for _ in range(20):
                logger.info("by %s", name)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, ["a", "b", "c", "d"]))
    logger.info("afterwards")
    assert all(line["message"] == f"by {line['trace_id']}" for line in written()[:-1])
    assert "trace_id" not in written()[-1]


def test_configuring_twice_writes_every_line_once():
    logger = logging.getLogger("market_pipeline")
    before, level = list(logger.handlers), logger.level
    try:
        configure_logging("INFO")
        configure_logging("WARNING")
        own = [handler for handler in logger.handlers if isinstance(handler.formatter, LineFormatter)]
        assert len(own) == 1
        assert logger.level == logging.WARNING
    finally:
        logger.handlers[:] = before
        logger.setLevel(level)
