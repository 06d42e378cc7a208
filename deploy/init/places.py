"""Which reader is given what: one directory (a volume of its own) for each, so that nobody sees others' secrets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.init.certificates import Authority
from deploy.init.files import PRIVATE, SHARED, put

DATABASE = "postgres:5432/middleman"
SANDBOX_URL = "http://sandbox:12111"
ETCD_MEMBERS = ("etcd-1", "etcd-2", "etcd-3")


@dataclass(frozen=True, slots=True)
class Place:
    """One file: whose volume, its name there, what it holds, and who may read it."""

    reader: str
    name: str
    content: bytes
    mode: int = PRIVATE

    def lay(self, root: Path) -> bool:
        """Lay it down below `root`; whether anything changed."""
        return put(root / self.reader / self.name, self.content, self.mode)


@dataclass(frozen=True, slots=True)
class Processor:
    """Who charges: its key and base URL; which secrets sign its webhooks, and with which the sandbox would."""

    key: str
    base: str
    webhook_secrets: str
    sandbox_webhook_secret: str


def secrets(keys: Mapping[str, str], processor: Processor) -> Iterator[Place]:
    """Passwords, keys, and URLs that hold passwords."""

    def url(role: str, password: str) -> str:
        return f"postgresql://{role}:{keys[f'db-password-{password}']}@{DATABASE}"

    by_reader = {
        "owner": {
            "database-url": url("postgres", "superuser"),
            "db-password-api": keys["db-password-api"],
            "db-password-replica": keys["db-password-replica"],
            "db-password-judge": keys["db-password-judge"],
            "api-key": keys["api-key"],
        },
        "api": {
            "database-url": url("middleman_api", "api"),
            "stripe-api-key": processor.key,
            "stripe-api-base": processor.base,
            "stripe-webhook-secret": processor.webhook_secrets,
        },
        "replica": {
            "database-url": url("middleman_replica", "replica"),
            "stripe-api-key": processor.key,
            "stripe-api-base": processor.base,
            "ops-token": keys["ops-token"],
        },
        "sandbox": {
            "api-key": keys["sandbox-api-key"],
            "admin-key": keys["sandbox-admin-key"],
            "webhook-secret": processor.sandbox_webhook_secret,
        },
        "operator": {
            "api-key": keys["api-key"],
            "ops-token": keys["ops-token"],
            "judge-database-url": url("middleman_judge", "judge"),
            "sandbox-admin-key": keys["sandbox-admin-key"],
            # What the chaos script signs with.
            "stripe-webhook-secret": processor.sandbox_webhook_secret,
        },
    }
    for reader, files in by_reader.items():
        for name, content in files.items():
            yield Place(reader, name, content.encode())
    yield Place("postgres", "superuser-password", keys["db-password-superuser"].encode(), SHARED)
    yield Place("grafana", "admin-password", keys["grafana-password"].encode(), SHARED)


def etcd_certificates(
    clients: Authority, peers: Authority, members: Sequence[str] = ETCD_MEMBERS
) -> Iterator[Place]:
    """What members show to clients and to each other, and what `etcdctl` beside them and the replicas show to them."""
    client_ca = clients.own.certificate.read_bytes()
    peer_ca = peers.own.certificate.read_bytes()
    replica, etcdctl = clients.issue("replica", ["clientAuth"]), clients.issue("etcdctl", ["clientAuth"])
    yield Place("replica", "etcd-ca.pem", client_ca)
    yield Place("replica", "etcd-client.pem", replica.certificate.read_bytes())
    yield Place("replica", "etcd-client-key.pem", replica.key.read_bytes())
    for member in members:
        names = [f"DNS:{member}", "DNS:localhost", "IP:127.0.0.1"]
        server = clients.issue(member, ["serverAuth", "clientAuth"], names)
        peer = peers.issue(member, ["serverAuth", "clientAuth"], [f"DNS:{member}"])
        for name, file in {
            "client.pem": etcdctl.certificate,
            "client-key.pem": etcdctl.key,
            "server.pem": server.certificate,
            "server-key.pem": server.key,
            "peer.pem": peer.certificate,
            "peer-key.pem": peer.key,
        }.items():
            yield Place(member, name, file.read_bytes())
        yield Place(member, "client-ca.pem", client_ca)
        yield Place(member, "peer-ca.pem", peer_ca)
