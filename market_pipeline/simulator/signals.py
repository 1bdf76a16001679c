"""Waiting to be told to stop."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

_STOP = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_signals() -> Iterator[Callable[[], None]]:
    """Within the block SIGINT and SIGTERM no longer end the process; the function that it yields
    waits for one of them, also if it came before the wait. For the main thread only.

    The signal wakes the wait through a socket, whichever thread the system hands it to.
    """
    with ExitStack() as stack:
        reader, writer = (stack.enter_context(end) for end in socket.socketpair())
        writer.setblocking(False)
        stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer.fileno()))
        for number in _STOP:
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: None))

        def wait() -> None:
            while reader.recv(1)[0] not in _STOP:
                pass

        yield wait
