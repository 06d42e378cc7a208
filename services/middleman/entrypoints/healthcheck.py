"""A container's health: `python -I -S healthcheck.py [URL]` exits with 0 if the URL answers with a 2xx, else 1.

It runs every few seconds in every container, so it is a script of its own that imports next to nothing: an
interpreter that loads `urllib` takes four times as long as one that does not. Without an argument the URL stands
in HEALTHCHECK_URL; without either there is nothing to ask, and a process that runs is a healthy one.
"""

import os
import socket
import sys

TIMEOUT_S = 2.0
_ENOUGH = len(b"HTTP/1.1 200")


def trouble(url: str) -> str:
    """Why `url` (`http://host:port/path`, an IPv6 address in brackets) counts as unhealthy; empty when it does not."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    host, _, port = authority.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return f"{url!r} must have its IPv6 address in brackets, as in http://[::1]:9000/path"
    if scheme != "http" or not host or not port.isdigit():
        return f"{url!r} must read http://host:port/path"
    request = f"GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.sendall(request.encode())
            answer = b""
            while len(answer) < _ENOUGH and (more := connection.recv(512)):
                answer += more
    except OSError as error:
        return f"{url}: {error}"
    status = answer[9:_ENOUGH].decode("latin-1")
    return "" if status.startswith("2") else f"{url} answers {status or 'nothing'}"


def main(arguments: list[str]) -> int:
    """Exit status; what is wrong goes to standard output, which `docker inspect` shows."""
    url = arguments[0] if arguments else os.environ.get("HEALTHCHECK_URL", "")
    found = trouble(url) if url else ""
    if found:
        print(found)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
