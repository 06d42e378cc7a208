"""Middleman's own processes as members: which command, which environment, when they are ready."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.environment import clean_environment
from cluster.health import answers_ok
from cluster.keys import ClusterKeys
from cluster.leashed import Command
from cluster.links import Link, LinkGroup, ReplicaLinks
from cluster.one_shot import run_to_end
from cluster.ports import HOST
from cluster.postgres import PostgresServer
from cluster.process import ManagedProcess
from cluster.spec import ClusterSpec

_MIGRATE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class AppContext:
    """What every process of the application is told. `postgres_port` is that of the server, or of the way to it."""

    spec: ClusterSpec
    keys: ClusterKeys
    postgres: PostgresServer
    postgres_port: int
    etcd_endpoints: tuple[str, ...]
    stripe_api_key: str
    stripe_api_base: str

    @property
    def log_dir(self) -> Path:
        return self.spec.data_dir / "logs"

    def environment(self, kind: str, name: str, own: dict[str, str]) -> dict[str, str]:
        """The environment of one process; what the spec adds wins."""
        return clean_environment() | own | self.spec.env_for(kind, name)

    def processor(self) -> dict[str, str]:
        """The settings that lead to the processor, for the kinds that call it."""
        return {
            "STRIPE_API_KEY": self.stripe_api_key,
            "MIDDLEMAN_STRIPE_API_BASE": self.stripe_api_base,
            "MIDDLEMAN_ENVIRONMENT": self.spec.environment,
        }


async def migrate(context: AppContext) -> None:
    """Brings the schema, the roles' passwords and the bootstrap API key up to date; raises `StartError`."""
    keys = context.keys
    own = {
        "MIDDLEMAN_DATABASE_URL": context.postgres.dsn(),
        "MIDDLEMAN_DB_PASSWORD_API": keys.db_password_api,
        "MIDDLEMAN_DB_PASSWORD_REPLICA": keys.db_password_replica,
        "MIDDLEMAN_DB_PASSWORD_JUDGE": keys.db_password_judge,
        "MIDDLEMAN_BOOTSTRAP_API_KEY": keys.api_key,
        "MIDDLEMAN_ENVIRONMENT": context.spec.environment,
    }
    command = Command(context.spec.commands.migrate, context.environment("migrate", "migrate", own))
    await run_to_end("migrate", command, context.log_dir / "migrate.log", timeout_s=_MIGRATE_TIMEOUT_S)


def api_member(context: AppContext, name: str, port: int) -> ManagedProcess:
    """One process of the REST API."""
    own = context.processor() | {
        "STRIPE_WEBHOOK_SECRET": context.keys.webhook_secret,
        "MIDDLEMAN_DATABASE_URL": context.postgres.dsn(
            user="middleman_api", password=context.keys.db_password_api, port=context.postgres_port
        ),
        "MIDDLEMAN_API_HOST": HOST,
        "MIDDLEMAN_API_PORT": str(port),
    }
    return _member(context, "api", name, port, context.spec.commands.api, own)


def replica_links(context: AppContext, name: str, port: int) -> ReplicaLinks:
    """Links of its own for one replica; `port` is that of its operations endpoint."""
    processor = context.stripe_api_base.removeprefix("http://") if context.spec.with_sandbox else ""
    return ReplicaLinks(
        etcd=LinkGroup(
            Link(f"{name} -> etcd-{number}", endpoint)
            for number, endpoint in enumerate(context.etcd_endpoints, start=1)
        ),
        postgres=Link(f"{name} -> postgres", f"{HOST}:{context.postgres.port}"),
        processor=Link(f"{name} -> sandbox", processor) if processor else None,
        peer=Link(f"peers -> {name}", f"{HOST}:{port}"),
    )


def replica_member(
    context: AppContext, name: str, port: int, links: ReplicaLinks | None = None
) -> ManagedProcess:
    """One replica; `port` is that of its operations endpoint, `links` what it is told to connect to instead."""
    own = context.processor() | {
        "MIDDLEMAN_DATABASE_URL": context.postgres.dsn(
            user="middleman_replica",
            password=context.keys.db_password_replica,
            port=links.postgres.port if links is not None else None,
        ),
        "MIDDLEMAN_ETCD_ENDPOINTS": ",".join(context.etcd_endpoints),
        "MIDDLEMAN_REPLICA_NAME": name,
        "MIDDLEMAN_OPS_HOST": HOST,
        "MIDDLEMAN_OPS_PORT": str(port),
        "MIDDLEMAN_OPS_TOKEN": context.keys.ops_token,
        "MIDDLEMAN_LEASE_TTL_S": str(context.spec.lease_ttl_s),
        # The test clock is moved on purpose here, by months at a time.
        "MIDDLEMAN_MAX_OVERDUE_PERIODS": "1000",
    }
    if links is not None:
        own["MIDDLEMAN_ETCD_ENDPOINTS"] = ",".join(link.endpoint for link in links.etcd)
        own["MIDDLEMAN_OPS_ADVERTISE"] = links.peer.endpoint
        if links.processor is not None:
            own["MIDDLEMAN_STRIPE_API_BASE"] = f"http://{links.processor.endpoint}"
    return _member(context, "replica", name, port, context.spec.commands.replica, own)


def _member(
    context: AppContext, kind: str, name: str, port: int, argv: tuple[str, ...], own: dict[str, str]
) -> ManagedProcess:
    command: Callable[[], Command] = lambda: Command(argv, context.environment(kind, name, own))  # noqa: E731 -- typed by its annotation
    url = f"http://{HOST}:{port}"
    return ManagedProcess(
        name=name,
        kind=kind,
        command=command,
        log_path=context.log_dir / f"{name}.log",
        probe=lambda: answers_ok(f"{url}/readyz"),
        port=port,
        url=url,
    )
