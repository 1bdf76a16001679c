"""Which host names reach only this machine."""

import ipaddress


def is_loopback(name: str) -> bool:
    """Return whether the host name or address `name` (IPv6 with or without brackets) is a loopback address."""
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
