"""`state.json`: how another process finds its way around a running cluster.

The file lies in the data directory (mode 0600, it holds secrets), is rewritten whenever a member
starts or ends, and is removed on a clean stop. Its shape is that of `ClusterState`, version 2.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from cluster.errors import ClusterError
from cluster.lock import DataDirLock
from cluster.private_files import write_private_json

FILE = "state.json"
_VERSION = 2


@dataclass(frozen=True, slots=True)
class MemberState:
    """One process: `pid` is null while it is down; `url` is where it serves, empty if nowhere."""

    name: str
    kind: str
    pid: int | None
    port: int | None
    url: str
    log_path: str


@dataclass(frozen=True, slots=True)
class SandboxState:
    """Where the sandbox serves, and its two keys."""

    url: str
    api_key: str
    admin_key: str


@dataclass(frozen=True, slots=True)
class ClusterState:
    """Everything that a script, the judge or the chaos tools need to attach.

    Database URLs have the form `postgresql://user:password@host:port/database`: the judge's role may
    only read, the superuser's may do anything. `api_key` has the scopes read and write. `ops_token` is
    what a replica's `POST /leader/resign` asks for. `sandbox` is null when the cluster talks to Stripe.
    """

    supervisor_pid: int
    environment: str
    api_urls: tuple[str, ...]
    api_key: str
    ops_token: str
    judge_database_url: str
    superuser_database_url: str
    etcd_endpoints: tuple[str, ...]
    sandbox: SandboxState | None
    members: tuple[MemberState, ...]
    version: int = _VERSION

    def write(self, data_dir: Path) -> None:
        """Publishes this state."""
        write_private_json(data_dir / FILE, asdict(self))

    @classmethod
    def load(cls, data_dir: Path) -> Self:
        """The state of the cluster running on `data_dir`; raises `ClusterError` when none is."""
        path = data_dir / FILE
        if not path.exists() or not DataDirLock(data_dir).is_held_by_anyone():
            raise ClusterError(
                f"no cluster is running on {data_dir}: start one there, or name another directory"
            )
        content: dict[str, Any] = json.loads(path.read_text())
        if content.get("version") != _VERSION:
            raise ClusterError(
                f"{path} has version {content.get('version')}, not {_VERSION}: restart that cluster"
            )
        sandbox = content.pop("sandbox")
        members = content.pop("members")
        for name in ("api_urls", "etcd_endpoints"):
            content[name] = tuple(content[name])
        return cls(
            **content,
            sandbox=SandboxState(**sandbox) if sandbox is not None else None,
            members=tuple(MemberState(**member) for member in members),
        )
