"""What a cluster should look like."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from cluster.etcd import EtcdTiming
from cluster.postgres_files import PostgresTuning
from cluster.sandbox import DEFAULT_COMMAND as SANDBOX_COMMAND

Environment = Literal["production", "test"]


def _entrypoint(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"middleman.entrypoints.{name}")


@dataclass(frozen=True, slots=True)
class Commands:
    """What to execute for each kind of member, before the options and environment that the cluster adds."""

    migrate: tuple[str, ...] = _entrypoint("migrate")
    api: tuple[str, ...] = _entrypoint("api")
    replica: tuple[str, ...] = _entrypoint("replica")
    sandbox: tuple[str, ...] = SANDBOX_COMMAND


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """A cluster to start; raises `ValueError` for one that cannot work.

    `data_dir` holds everything and may be used by one cluster at a time; `fresh` empties it first.
    `links` puts a controllable link between each replica and everything it talks to (`Cluster.links`).
    `extra_env` is keyed by a kind (`migrate`, `api`, `replica`, `sandbox`) or by a member's name
    (`replica-2`), the name winning. With `webhooks` the sandbox delivers to the first API what the API takes; without,
    somebody else may: the API has its secret in any case. Without the sandbox, `stripe_api_key` has to be a Stripe test
    key.
    """

    data_dir: Path
    replicas: int = 3
    apis: int = 1
    etcd_members: int = 3
    with_sandbox: bool = True
    sandbox_options: tuple[str, ...] = ()
    webhooks: bool = False
    stripe_api_key: str | None = None
    lease_ttl_s: int = 3
    environment: Environment = "test"
    fresh: bool = False
    links: bool = False
    commands: Commands = field(default_factory=Commands)
    extra_env: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    etcd_timing: EtcdTiming = field(default_factory=EtcdTiming)
    postgres_tuning: PostgresTuning = field(default_factory=PostgresTuning)

    def __post_init__(self) -> None:
        for name, minimum in (("replicas", 0), ("apis", 0), ("etcd_members", 1), ("lease_ttl_s", 1)):
            value: int = getattr(self, name)
            if value < minimum:
                raise ValueError(f"{name}={value}: must be at least {minimum}")
        if self.webhooks and not (self.with_sandbox and self.apis):
            raise ValueError("webhooks=True needs the sandbox, which delivers, and an API, which takes")
        if self.with_sandbox and self.stripe_api_key is not None:
            raise ValueError("stripe_api_key is for Stripe itself: leave it out, or set with_sandbox=False")
        if not self.with_sandbox and self.stripe_api_key is None:
            raise ValueError(
                "with_sandbox=False needs stripe_api_key=sk_test_…: there is no processor otherwise"
            )

    def env_for(self, kind: str, name: str) -> dict[str, str]:
        """The additional environment of one member."""
        return dict(self.extra_env.get(kind, {})) | dict(self.extra_env.get(name, {}))
