"""A receiver of alerts that answers on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from market_pipeline.simulator.receiver import AlertReceiver


class PickyReceiver(AlertReceiver):
    """Refuses messages with `refused` in their title."""

    refused = ""

    def status_for(self, message: dict[str, Any]) -> int:
        return 400 if self.refused and self.refused in str(message.get("title")) else self.status


@contextmanager
def serving() -> Iterator[PickyReceiver]:
    """A running receiver."""
    with PickyReceiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
