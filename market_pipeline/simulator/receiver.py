"""A receiver of alerts on loopback: prints each message that arrives, and lists all at /.

`python -m market_pipeline.simulator.receiver --port 8712` takes what Apprise posts to json://127.0.0.1:8712/.
"""

import json
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import click

from market_pipeline.logs import get_logger, log_to_stderr

HOST = "127.0.0.1"
_LARGEST_BODY = 100_000
_MOST_KEPT = 200

logger = get_logger("market_pipeline.simulator.receiver")


class AlertReceiver(ThreadingHTTPServer):
    """Keeps the newest messages; `status` other than 200 refuses them."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """The URL for ALERT_URLS."""
        return f"json://{HOST}:{self.server_port}/"

    def status_for(self, message: dict[str, Any]) -> int:
        """Return the HTTP status of the answer to a message."""
        return self.status

    def keep(self, message: dict[str, Any]) -> None:
        """Print and keep a message."""
        self.messages = [*self.messages[-_MOST_KEPT:], message]
        body = " | ".join(str(message.get("message", "")).splitlines())
        logger.info("Alert received: %s | %s", message.get("title", ""), body)


class _Handler(BaseHTTPRequestHandler):
    server: AlertReceiver

    def do_POST(self) -> None:
        """Take a message as Apprise's json:// posts it."""
        length = int(self.headers.get("Content-Length", 0))
        try:
            message = json.loads(self.rfile.read(min(length, _LARGEST_BODY)))
        except ValueError:
            message = None
        status = self.server.status_for(message) if isinstance(message, dict) else 400
        if status == 200:
            self.server.keep(message)
        self._answer(status, {})

    def do_GET(self) -> None:
        """List the messages, oldest first."""
        self._answer(200, self.server.messages)

    def log_message(self, format: str, *args: Any) -> None:
        """Write no line per request."""

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=8712, show_default=True, metavar="PORT")
@click.option("--log-format", type=click.Choice(["json", "console"]), default="json", show_default=True)
def serve(port: int, log_format: str) -> None:
    """Print alerts that arrive on 127.0.0.1 until Ctrl-C."""
    log_to_stderr("INFO", log_format)
    with AlertReceiver(port) as server:
        logger.info("Alerts sent to %s are printed here", server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            logger.info("Stopped.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; return 0."""
    return int(serve.main(arguments, "python -m market_pipeline.simulator.receiver", standalone_mode=False) or 0)


if __name__ == "__main__":
    sys.exit(main())
