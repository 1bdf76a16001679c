"""Ports of this machine that the commands listen on."""

import errno
import socket

import click

HOST = "127.0.0.1"
UI_PORT = 3000
API_PORT = 8000
# What answers so at these paths, for the message about a port that is in use.
_KNOWN = {
    "/healthz": (b'{"status": "alive"}', "an API of market-pipeline"),
    "/server_info": (b'{"dagster_webserver_version"', "a Dagster UI"),
}
_ANSWER_SECONDS = 0.5


def require_free(port: int, what: str, address: str = HOST, option: str = "--port") -> None:
    """Raise ClickException if `port` of the IP address `address` cannot be listened on."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                remedy = f"stop that or choose another port with {option}"
                message = f"port {port} for {what} is in use by {_listener(port)}; {remedy}"
            else:
                message = f"{what} cannot listen on {address}, port {port}: {error.strerror}"
            raise click.ClickException(message) from None


def _listener(port: int) -> str:
    """Name what listens on `port`; of its answer, which may be anything, only the beginning is read."""
    import requests

    with requests.Session() as session:
        # No proxy.
        session.trust_env = False
        for path, (begin, name) in _KNOWN.items():
            try:
                url = f"http://{HOST}:{port}{path}"
                with session.get(url, timeout=_ANSWER_SECONDS, allow_redirects=False, stream=True) as answer:
                    if answer.ok and next(answer.iter_content(len(begin)), b"") == begin:
                        return name
            except requests.RequestException:
                break
    return f"another program (`lsof -i :{port}` shows which)"


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
