"""Addresses as `host:port`, in which an IPv6 address stands in brackets (RFC 3986, section 3.2.2)."""

import ipaddress
import re

_HOST_PORT = re.compile(r"(?:(?P<name>[A-Za-z0-9_.-]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\]):(?P<port>[0-9]{1,5})")


def host_port(host: str, port: int) -> str:
    """Join a host, with or without brackets, and a port."""
    bare = bare_host(host)
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def is_host_port(text: str) -> bool:
    """Whether `text` reads `name:port`, `192.0.2.1:port` or `[2001:db8::1]:port`; the port may be 0."""
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        return False
    return match["v6"] is None or _ip(match["v6"]) is not None


def bare_host(host: str) -> str:
    """A host without the brackets that an IPv6 address has in a URL: what sockets take."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def is_everywhere(host: str) -> bool:
    """Whether to listen on `host` is to listen on all addresses, so that it tells nobody where to connect."""
    ip = _ip(bare_host(host))
    return host == "" or (ip is not None and ip.is_unspecified)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
