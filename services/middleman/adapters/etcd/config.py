"""Where etcd's members are and how to be let in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from middleman.addresses import is_host_port


@dataclass(frozen=True, slots=True)
class EtcdTls:
    """Files in PEM format. Without ``ca_path`` the system's authorities are trusted."""

    ca_path: Path | None = None
    cert_path: Path | None = None
    key_path: Path | None = None

    def __post_init__(self) -> None:
        if (self.cert_path is None) != (self.key_path is None):
            raise ValueError("etcd's client certificate and its key go together: set both or neither")
        for path in (self.ca_path, self.cert_path, self.key_path):
            if path is not None and not path.is_file():
                raise ValueError(f"etcd's TLS file {path} does not exist or is no file")


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    """How to reach one etcd cluster.

    ``endpoints`` are ``host:port``, every member of the cluster exactly once: a majority of *these*
    has to confirm each renewal of a lease. ``prefix`` keeps several installations on one etcd apart.
    """

    endpoints: tuple[str, ...]
    prefix: str = "/middleman"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: EtcdTls | None = None

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ValueError("no etcd endpoint is given: list every member as host:port")
        for endpoint in self.endpoints:
            if not is_host_port(endpoint) or int(endpoint.rpartition(":")[2]) == 0:
                raise ValueError(
                    f"etcd endpoint {endpoint!r} is not host:port (an IPv6 address in brackets; without http://; "
                    "TLS has its own setting)"
                )
        if len(set(self.endpoints)) != len(self.endpoints):
            raise ValueError(f"an etcd endpoint is listed twice in {', '.join(self.endpoints)}")
        if (self.user is None) != (self.password is None):
            raise ValueError("etcd's user and password go together: set both or neither")

    @property
    def majority(self) -> int:
        """How many members make a quorum."""
        return len(self.endpoints) // 2 + 1
