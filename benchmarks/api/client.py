"""An HTTP client that costs little, so that the server is what is measured.

It sends GET and POST without a body over connections that stay open, one request at a time each.
"""

import asyncio
import time
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """The status, the body, and the seconds from the first byte sent to the last one read."""

    status: int
    body: bytes
    seconds: float


class Connection:
    """A connection to `address` (http://host:port); use it in an `async with` block.

    `source` is the loopback address that it comes from.
    """

    def __init__(self, address: str, source: str = "127.0.0.1") -> None:
        parts = urlsplit(address)
        self._host, self._port, self._source = parts.hostname, parts.port, source

    async def __aenter__(self) -> "Connection":
        self._reader, self._writer = await asyncio.open_connection(
            self._host, self._port, local_addr=(self._source, 0), limit=2**20
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def ask(self, method: str, path: str, accept: str = "application/json") -> Answer:
        """Send one request and read its whole answer; ConnectionError if there is none."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nAccept: {accept}\r\n\r\n"
        started = time.perf_counter()
        self._writer.write(head.encode())
        try:
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            body = await self._body(headers)
        except asyncio.IncompleteReadError:
            raise ConnectionError(f"the connection ended within the answer to {method} {path}") from None
        return Answer(int(lines[0].split()[1]), body, time.perf_counter() - started)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", ""):
            return await self._reader.readexactly(int(headers.get("content-length", 0)))
        body = bytearray()
        while size := int(await self._reader.readline(), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()
        return bytes(body)
