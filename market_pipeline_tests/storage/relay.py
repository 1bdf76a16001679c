"""A relay to a PostgreSQL server that can fall silent: it still accepts what is sent, and answers nothing."""

import contextlib
import selectors
import socket
import threading

from sqlalchemy import URL


class Relay:
    """A relay on loopback, silent while `silent` is set, which a client does that sends `silent_at`.

    While `deaf` is set the connections that exist by then are silent, and later ones are not.
    """

    def __init__(self, url: URL, silent_at: bytes | None = None) -> None:
        self._host = str(url.query.get("host") or url.host)
        self._port = url.port or 5432
        self._silent_at = silent_at
        self.silent = threading.Event()
        self.deaf = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closed = threading.Event()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()
        self.url = url.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={})

    def close(self) -> None:
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _connect(self) -> socket.socket:
        if self._host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{self._host}/.s.PGSQL.{self._port}")
            return server
        return socket.create_connection((self._host, self._port))

    def _pass_on(self, client: socket.socket) -> None:
        """Pass on what both sides send until one of them, or `close` in another thread, ends the connection."""
        server = self._connect()
        self._sockets += [client, server]
        with client, server, contextlib.suppress(OSError, ValueError):
            self._pass_on_until_closed(client, server)

    def _pass_on_until_closed(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        late = self.deaf.is_set()
        with selectors.DefaultSelector() as ready:
            for each in other:
                ready.register(each, selectors.EVENT_READ)
            while not self._closed.is_set():
                for key, _ in ready.select(timeout=0.1):
                    sender = client if key.fileobj is client else server
                    data = sender.recv(65_536)
                    if self._silent_at and sender is client and self._silent_at in data:
                        self._silent_at = None
                        self.silent.set()
                    while (self.silent.is_set() or (self.deaf.is_set() and not late)) and not self._closed.wait(0.02):
                        pass
                    if not data or self._closed.is_set():
                        return
                    other[sender].sendall(data)
