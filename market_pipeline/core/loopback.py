"""Which names stand for this machine alone."""

import ipaddress


def is_loopback(name: str) -> bool:
    """Whether the host name or address `name` (IPv6 with or without brackets) reaches this machine alone."""
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
