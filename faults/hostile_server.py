"""A server on loopback that sends whatever bytes it is given, whether HTTP or not."""

import multiprocessing
import socketserver
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from urllib.parse import parse_qsl, unquote, urlsplit

_LARGEST_HEAD = 65_536
_BASE = "/api/v3"


@dataclass(frozen=True)
class Bytes:
    """What one request gets: `data`, after each `piece` bytes a pause of `pause` seconds, then the connection's end.

    With `stays` the connection is kept open for the next request.
    """

    data: bytes
    piece: int = 1 << 20
    pause: float = 0.0
    stays: bool = False


Give = Callable[[str, dict[str, str]], Bytes]


@contextmanager
def hostile_server(make: Callable[[], Give]) -> Iterator[str]:
    """Serve what the function that `make` returns gives for each path below the API's base and its query.

    In a process of its own, so that the memory of hostile answers is not that of their reader. Gives its base URL.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(make, theirs), daemon=True)
    server.start()
    theirs.close()
    try:
        yield f"http://127.0.0.1:{ours.recv()}{_BASE}"
    finally:
        server.kill()
        server.join()


def _serve(make: Callable[[], Give], started: Connection) -> None:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.give = make()
    started.send(server.server_address[1])
    server.serve_forever()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    give: Give


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        try:
            while self._answered():
                pass
        except OSError:
            pass  # the client has had enough

    def _answered(self) -> bool:
        """Answer one request; return whether another one may follow."""
        target = self._target()
        if target is None:
            return False
        path = unquote(urlsplit(target).path.removeprefix(_BASE))
        answer = self.server.give(path, dict(parse_qsl(urlsplit(target).query)))
        for first in range(0, len(answer.data), answer.piece):
            self.wfile.write(answer.data[first : first + answer.piece])
            time.sleep(answer.pause)
        return answer.stays

    def _target(self) -> str | None:
        """Read a request up to its empty line; return what it asks for."""
        request = self.rfile.readline(_LARGEST_HEAD).split()
        if len(request) < 2:
            return None
        while self.rfile.readline(_LARGEST_HEAD).strip():
            pass
        return request[1].decode("latin-1")
