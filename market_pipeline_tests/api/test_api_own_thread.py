"""One thread that does one thing after the other."""

import threading
from contextvars import ContextVar

import pytest

from market_pipeline.api.threads import OwnThread

word = ContextVar("word", default="none")


@pytest.fixture
def own():
    made = OwnThread("own")
    yield made
    made.stop(10)


def test_calls_are_made_in_order_in_one_thread_that_keeps_no_process_alive(own):
    futures = [own.submit(threading.current_thread) for _ in range(20)]
    (thread,) = {future.result(10) for future in futures}
    assert thread.daemon and thread is not threading.current_thread()
    done = []
    last = [own.submit(lambda number=number: done.append(number)) for number in range(20)][-1]
    last.result(10)
    assert done == list(range(20))


def test_an_error_is_told_to_who_asked_and_to_nobody_else(own):
    failed, good = own.submit(lambda: 1 / 0), own.submit(lambda: 1)
    with pytest.raises(ZeroDivisionError):
        failed.result(10)
    assert good.result(10) == 1


def test_a_call_sees_what_its_caller_has_bound_and_leaves_nothing_behind(own):
    word.set("outer")

    def change():
        before = word.get()
        word.set("inner")
        return before

    assert [own.submit(change).result(10) for _ in range(2)] == ["outer", "outer"]
    assert word.get() == "outer"


def test_a_call_that_nobody_waits_for_any_more_is_left_out(own):
    go = threading.Event()
    own.submit(go.wait)
    made = []
    late = own.submit(lambda: made.append(1))
    assert late.cancel()
    go.set()
    own.submit(lambda: None).result(10)
    assert made == []


def test_it_ends_after_what_it_was_given_and_begins_anew_if_need_be(own):
    first = own.submit(threading.current_thread)
    own.stop(10)
    assert not first.result(0).is_alive()
    assert own.submit(threading.current_thread).result(10) is not first.result(0)
    own.stop(10)
    own.stop(10)
