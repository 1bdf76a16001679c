"""A relay to a PostgreSQL server that can fall silent: it still takes what is sent, and answers nothing."""

import selectors
import socket
import threading


class Relay:
    """On loopback. It falls silent while `silent` is set, which a client does that sends `silent_at`.

    With `deaf` the connections that are there fall silent, and later ones do not.
    """

    def __init__(self, url, silent_at=None):
        self._host = url.query.get("host") or url.host
        self._port = url.port or 5432
        self._silent_at = silent_at
        self.silent = threading.Event()
        self.deaf = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closed = threading.Event()
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()
        self.url = url.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={})

    def close(self):
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            each.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _connect(self):
        if self._host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{self._host}/.s.PGSQL.{self._port}")
            return server
        return socket.create_connection((self._host, self._port))

    def _pass_on(self, client):
        server = self._connect()
        self._sockets += [client, server]
        late = self.deaf.is_set()
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while not self._closed.is_set():
                for key, _ in ready.select(timeout=0.1):
                    data = key.fileobj.recv(65_536)
                    if self._silent_at and key.fileobj is client and self._silent_at in data:
                        self._silent_at = None
                        self.silent.set()
                    while (self.silent.is_set() or (self.deaf.is_set() and not late)) and not self._closed.wait(0.02):
                        pass
                    if not data or self._closed.is_set():
                        client.close()
                        server.close()
                        return
                    key.data.sendall(data)
