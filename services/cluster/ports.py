"""Free ports that stay ours from the first start to the last restart.

A port is reserved by a bound socket that never listens and allows address reuse, so that the member,
which must set SO_REUSEADDR as every serious server does, binds and listens on top of it, again and
again, while no search for a free port can pick it. While the member is down, connections are refused
as they should be. Since two such reservations would tolerate each other, a name in the abstract socket
namespace, which the kernel frees with its owner, tells supervisors apart.

Ports are drawn from below the kernel's ephemeral range. In that range a client that keeps calling a
dead member's port is sooner or later given the very same number as its own local port and connects to
itself, which then keeps the member from coming back.
"""

import errno
import random
import socket
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import StartError

HOST = "127.0.0.1"
_LOWEST_PORT = 10_240
_MAX_DRAWS = 200
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True, slots=True)
class ReservedPort:
    """A TCP port on 127.0.0.1 that nobody else can take until it is released."""

    number: int
    _holder: socket.socket
    _claim: socket.socket

    def release(self) -> None:
        """Gives the port back; harmless when repeated."""
        self._holder.close()
        self._claim.close()


def reserve_port(preferred: int | None = None) -> ReservedPort:
    """Reserves `preferred` if it is free, else a random free port; raises `StartError` if none is found."""
    if preferred is not None:
        reserved = _try_reserve(preferred)
        if reserved is not None:
            return reserved
    for _ in range(_MAX_DRAWS):
        reserved = _try_reserve(_draw())
        if reserved is not None:
            return reserved
    raise StartError(
        f"no free port on {HOST} in {_MAX_DRAWS} draws from {_LOWEST_PORT} up to the ephemeral range "
        f"({_EPHEMERAL_RANGE}): stop something that listens there"
    )


def _draw() -> int:
    try:
        ephemeral_start = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except OSError:
        ephemeral_start = 32_768  # Linux's default, where /proc/sys is hidden
    if ephemeral_start - _LOWEST_PORT < _MAX_DRAWS:
        return 0  # the machine left no room below the ephemeral range: let the kernel choose inside it
    return random.randrange(_LOWEST_PORT, ephemeral_start)  # noqa: S311  # spreading, not secrecy


def _try_reserve(number: int) -> ReservedPort | None:
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # With reuse, connections of the last run that linger in TIME_WAIT do not count; a listener does.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((HOST, number))
        bound = holder.getsockname()[1]
        claim.bind(f"\0middleman-port-{bound}")
    except OSError as error:
        holder.close()
        claim.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return None
        raise
    return ReservedPort(bound, holder, claim)
