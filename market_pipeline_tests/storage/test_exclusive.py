"""Work that one process does at a time: the next waits until the first has ended, however it ended."""

import threading

from market_pipeline.storage.engine import Database
from market_pipeline.storage.exclusive import exclusive
from market_pipeline_tests.builders import wait_for


def test_the_second_waits_for_the_first_and_other_work_does_not(database):
    waiting, entered = threading.Event(), threading.Event()

    def second():
        other = Database(database.url)
        with exclusive(other, "backfill", waiting.set):
            entered.set()
        other.dispose()

    thread = threading.Thread(target=second)
    try:
        with exclusive(database, "backfill", lambda: None):
            thread.start()
            wait_for(waiting.is_set, 5, "the second to wait")
            with exclusive(database, "another", lambda: waiting.clear()):
                assert waiting.is_set() and not entered.is_set()
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        wait_for(entered.is_set, 5, "the second to enter")
    thread.join()
