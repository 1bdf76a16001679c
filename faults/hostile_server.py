"""A server on loopback that sends whatever bytes it is given, whether HTTP or not."""

import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
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


class HostileServer:
    """Answers each GET with what `give` returns for its path below the API's base and its query."""

    def __init__(self, give: Give) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.give = give
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}{_BASE}"

    def __enter__(self) -> "HostileServer":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


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
