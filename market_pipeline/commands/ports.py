"""Ports of this machine that the commands listen on."""

import errno
import socket

import click

HOST = "127.0.0.1"
UI_PORT = 3000
API_PORT = 8000


def require_free(port: int, what: str, address: str = HOST, option: str = "--port") -> None:
    """Raise ClickException if `port` of the IP address `address` cannot be listened on."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                remedy = f"stop what runs there or choose another with {option}"
                message = f"port {port} for {what} is in use; {remedy}"
            else:
                message = f"{what} cannot listen on {address}, port {port}: {error.strerror}"
            raise click.ClickException(message) from None


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
