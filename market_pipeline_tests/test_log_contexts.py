"""What is bound belongs to one piece of work: no thread, task or generator carries it elsewhere."""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import pytest

from market_pipeline.logs import apart, bind, bound, current_trace_id, get_logger
from market_pipeline.logs.context import current_fields

logger = get_logger("market_pipeline.contexts")
Line = tuple[str, str | None, dict[str, Any]]


@pytest.fixture
def lines() -> Iterator[list[Line]]:
    """(message, trace id at the time, fields at the time) of what was logged."""
    heard: list[Line] = []

    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append((record.getMessage(), current_trace_id(), dict(current_fields())))

    handler = Hearing()
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield heard
    logger.removeHandler(handler)
    logger.setLevel("NOTSET")


def test_threads_at_the_same_time_carry_their_own(lines: list[Line]) -> None:
    barrier = threading.Barrier(16)

    def work(name: str) -> None:
        barrier.wait(10)
        with bound(trace_id=name, symbol=name):
            for _ in range(50):
                logger.info(name)
                time.sleep(random.random() / 10_000)
        logger.info("after %s", name)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, [f"t{n}" for n in range(16)]))
    inside = [line for line in lines if not line[0].startswith("after")]
    assert len(inside) == 800 and all(message == trace == fields["symbol"] for message, trace, fields in inside)
    assert [fields for message, _, fields in lines if message.startswith("after")] == [{}] * 16


def test_tasks_that_take_turns_carry_their_own_also_into_threads_of_their_own(lines: list[Line]) -> None:
    async def work(name: str) -> None:
        with bound(trace_id=name):
            for _ in range(20):
                logger.info(name)
                await asyncio.sleep(random.random() / 1000)
                await asyncio.to_thread(logger.info, name)
            await asyncio.gather(*(asyncio.create_task(child(name)) for _ in range(3)))

    async def child(name: str) -> None:
        await asyncio.sleep(0)
        logger.info(name)

    async def all_of_them() -> None:
        await asyncio.gather(*(work(f"a{n}") for n in range(50)))
        assert current_trace_id() is None

    asyncio.run(all_of_them())
    assert len(lines) == 50 * 43 and all(message == trace for message, trace, _ in lines)


def test_blocks_nest_and_end_also_by_an_error() -> None:
    with suppress(ZeroDivisionError), bound(trace_id="outer", a=1):
        with bound(trace_id="inner"):
            assert dict(current_fields()) == {"trace_id": "inner", "a": 1}
        assert current_trace_id() == "outer"
        raise ZeroDivisionError
    assert dict(current_fields()) == {}


def test_a_generator_made_apart_leaks_nothing_between_its_steps(lines: list[Line]) -> None:
    closed = []

    def steps() -> Iterator[int]:
        with bound(symbol="BTC"):
            try:
                for number in range(3):
                    logger.info("in %s", number)
                    yield number
            finally:
                closed.append(dict(current_fields()))

    with bound(outer=1):
        for number in apart(steps(), trace_id="run"):
            logger.info("between %s", number)
    assert [fields for message, _, fields in lines if message.startswith("between")] == [{"outer": 1}] * 3
    assert [fields for message, _, fields in lines if message.startswith("in")] == [
        {"outer": 1, "trace_id": "run", "symbol": "BTC"}
    ] * 3
    assert len(closed) == 1


@pytest.mark.parametrize("end", ["close", "error", "forget", "elsewhere"])
def test_a_generator_made_apart_ends_in_order_however_it_ends(end: str) -> None:
    """Dagster may drop a generator at a yield, and closes it in another context."""
    seen = []

    def steps() -> Iterator[int]:
        with bound(symbol="BTC"):
            try:
                yield 1
                raise LookupError
            finally:
                seen.append(dict(current_fields()))

    made = apart(steps(), trace_id="run")
    assert next(made) == 1
    if end == "close":
        made.close()
    elif end == "error":
        with pytest.raises(LookupError):
            next(made)
    elif end == "elsewhere":
        copy_context().run(made.close)
    del made
    assert seen == [{"trace_id": "run", "symbol": "BTC"}]
    assert dict(current_fields()) == {}


def test_two_generators_made_apart_and_asked_in_turn_keep_apart(lines: list[Line]) -> None:
    def steps() -> Iterator[str | None]:
        for _ in range(5):
            logger.info("step")
            yield current_trace_id()

    turns = list(zip(apart(steps(), trace_id="a"), apart(steps(), trace_id="b"), strict=True))
    assert turns == [("a", "b")] * 5
    assert [trace for _, trace, _ in lines] == ["a", "b"] * 5


def test_what_is_bound_for_the_rest_of_a_context_ends_with_it() -> None:
    def work() -> str | None:
        bind(trace_id="mine")
        return current_trace_id()

    assert copy_context().run(work) == "mine"
    assert current_trace_id() is None
