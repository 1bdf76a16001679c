"""The HTTP server on 127.0.0.1: reads requests and writes, delays or cuts answers.

What is answered is decided in `responder` and `admin`.
"""

import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from market_pipeline.core.clock import Clock
from market_pipeline.logs import get_logger
from market_pipeline.simulator.admin import Admin
from market_pipeline.simulator.error_answers import incorrect_path
from market_pipeline.simulator.messages import Answer, LoggedRequest, Request, RequestLog
from market_pipeline.simulator.responder import Delivery, Responder

HOST = "127.0.0.1"
_BASE = "/api/v3"
_ADMIN = "/admin"
_LARGEST_BODY = 1_000_000

logger = get_logger(__name__)


class LoopbackServer(ThreadingHTTPServer):
    """An HTTP server on 127.0.0.1 whose connections end when it is stopped."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, responder: Responder, admin: Admin, log: RequestLog, clock: Clock) -> None:
        self.responder = responder
        self.admin = admin
        self.log = log
        self.clock = clock
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        """Bind without the base class's look-up of a name for 127.0.0.1."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    def stop(self) -> None:
        """Stop serving, release hanging answers, close every connection and the port."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                logger.debug("A connection was closed already when the simulator stopped.")

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and remember it."""
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what a handler raised; a client that went away is not an error."""
        if isinstance(sys.exc_info()[1], ConnectionError):
            logger.debug("A client closed its connection early.")
        else:
            logger.exception("The simulator failed on a request; this is a fault in the simulator.")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "CoinGeckoSimulator"
    sys_version = ""
    disable_nagle_algorithm = True
    server: LoopbackServer

    def do_GET(self) -> None:
        """Answer GET below the API's base and on the admin path."""
        path = urlsplit(self.path).path
        if path.startswith(_ADMIN):
            self._write(self.server.admin.answer("GET", path, b""))
            return
        request = self._request(path)
        if not path.startswith(_BASE + "/"):
            self._deliver(request, Delivery(incorrect_path()))
        else:
            self._deliver(request, self.server.responder.respond(request))

    def do_POST(self) -> None:
        """Answer POST and DELETE, which exist on the admin path only."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > _LARGEST_BODY:
            self.close_connection = True
            self._write(Answer(413, b""))
            return
        body = self.rfile.read(int(length))
        path = urlsplit(self.path).path
        known = path.startswith(_ADMIN)
        self._write(self.server.admin.answer(self.command, path, body) if known else incorrect_path())

    do_DELETE = do_POST

    def _request(self, path: str) -> Request:
        return Request(
            time=self.server.clock(),
            method=self.command,
            path=unquote(path.removeprefix(_BASE)),
            query=dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            length=len(self.path),
        )

    def _deliver(self, request: Request, delivery: Delivery) -> None:
        """Record the answer and send it as `delivery` describes."""
        status = None if delivery.cut == "before" else delivery.answer.status
        _log_line(self.server.log.add(request, status))
        if delivery.wait:
            self.server.stopping.wait(delivery.wait)
        if delivery.cut:
            self.close_connection = True
        if delivery.cut != "before":
            self._write(delivery.answer, half=delivery.cut == "middle")

    def _write(self, answer: Answer, half: bool = False) -> None:
        self.send_response_only(answer.status)
        self.send_header("Date", self.date_time_string(self.server.clock().timestamp()))
        if answer.body:
            self.send_header("Content-Type", answer.content_type)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2] if half else answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log what the base class reports of malformed requests."""
        logger.warning(format, *args)


def _log_line(entry: LoggedRequest) -> None:
    target = f"{entry.path}?{urlencode(entry.query, safe=',*')}" if entry.query else entry.path
    status = "cut" if entry.status is None else entry.status
    logger.info("%s %s -> %s", entry.method, target, status, extra={"path": entry.path, "status": entry.status})
