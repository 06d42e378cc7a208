"""A Docker engine in memory that speaks the few words of its API that the chaos tools use."""

import json
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from chaos.drive.compose_engine import Engine

PROJECT = "middleman"
REPLICA_NETWORKS = ("data", "coordination", "processor", "pulses", "operations")
SERVICES = {
    "postgres": ("data",),
    "etcd-1": ("coordination",),
    "etcd-2": ("coordination",),
    "etcd-3": ("coordination",),
    "sandbox": ("front", "processor"),
    "api": ("front", "data", "processor"),
    "demo": ("front",),
    "replica": REPLICA_NETWORKS,
}
_PATH = re.compile(r"/v[\d.]+/(?P<kind>containers|networks)/(?P<what>[\w.-]+)/(?P<verb>\w+)$")
_SIGKILLED = 137


@dataclass(slots=True)
class FakeContainer:
    """One container; `log` has (instant, line)."""

    id: str
    service: str
    number: int
    networks: dict[str, list[str]]
    status: str = "running"
    exit_code: int = 0
    starts: int = 1
    log: list[tuple[str, str]] = field(default_factory=list)

    def inspected(self) -> dict[str, Any]:
        """As `GET /containers/{id}/json` shows it."""
        alive = self.status != "exited"
        return {
            "Id": self.id,
            "State": {
                "Running": alive,
                "Paused": self.status == "paused",
                "Restarting": self.status == "restarting",
                "ExitCode": self.exit_code,
            },
            "Config": {"Env": ["MIDDLEMAN_LEASE_TTL_S=3", "A=b=c"]},
            "NetworkSettings": {
                "Networks": {
                    name: {
                        "Aliases": aliases,
                        "IPAddress": f"10.0.{self.number}.{self.starts}" if alive else "",
                    }
                    for name, aliases in self.networks.items()
                }
            },
        }


@dataclass(slots=True)
class FakeEngine:
    """Every call in `calls`; whatever is in `refuses` (`kill`, `connect`, …) is answered with a 500."""

    oldest_api: str = "1.12"
    containers: dict[str, FakeContainer] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)

    @classmethod
    def stack(cls, *, replicas: int = 3, apis: int = 1, without: Iterable[str] = ()) -> "FakeEngine":
        """A whole project that runs."""
        engine = cls()
        counts = {"replica": replicas, "api": apis}
        for service, networks in SERVICES.items():
            for number in range(1, counts.get(service, 1) + 1):
                identity = f"{len(engine.containers) + 1:064x}"[::-1]
                if service not in without:
                    on = {f"{PROJECT}_{name}": [service, f"{service}-{number}"] for name in networks}
                    engine.containers[identity] = FakeContainer(identity, service, number, on)
        return engine

    def engine(self) -> Engine:
        """The client on it."""
        transport = httpx.MockTransport(self.answer)
        return Engine(transport, transport)

    def of(self, service: str, number: int = 1) -> FakeContainer:
        """One container."""
        return next(c for c in self.containers.values() if (c.service, c.number) == (service, number))

    def answer(self, request: httpx.Request) -> httpx.Response:
        """One call of the API."""
        path, query = request.url.path, request.url.params
        if path == "/version":
            return httpx.Response(200, json={"ApiVersion": "9.9", "MinAPIVersion": self.oldest_api})
        self.calls.append(f"{request.method} {path}")
        if path.endswith("/containers/json"):
            return httpx.Response(200, json=[_listed(each) for each in self.containers.values()])
        if path.endswith("/networks"):
            return httpx.Response(200, json=self._networks())
        found = _PATH.search(path)
        assert found is not None, path
        if found["verb"] in self.refuses:
            return httpx.Response(500, json={"message": "no such luck"})
        if found["kind"] == "networks":
            return self._on_network(found["what"], found["verb"], json.loads(request.content))
        container = self.containers[found["what"]]
        if found["verb"] == "json":
            return httpx.Response(200, json=container.inspected())
        if found["verb"] == "logs":
            return httpx.Response(200, content=framed(_asked(container.log, query["since"], query["tail"])))
        return _acted(container, found["verb"])

    def _networks(self) -> list[dict[str, Any]]:
        names = sorted({name for networks in SERVICES.values() for name in networks})
        return [
            {"Name": f"{PROJECT}_{name}", "Labels": {"com.docker.compose.network": name}} for name in names
        ]

    def _on_network(self, network: str, verb: str, body: dict[str, Any]) -> httpx.Response:
        on = self.containers[body["Container"]].networks
        if (verb == "connect") == (network in on):
            return httpx.Response(403, json={"message": f"cannot {verb}: it is so already"})
        if verb == "connect":
            on[network] = body["EndpointConfig"]["Aliases"]
        else:
            del on[network]
        return httpx.Response(200)


def framed(lines: Iterable[tuple[str, str]]) -> bytes:
    """A log as the engine sends it, each line in a frame of standard error's."""
    contents = [f"{at} {text}\n".encode() for at, text in lines]
    return b"".join(struct.pack(">BxxxI", 2, len(content)) + content for content in contents)


def _asked(log: list[tuple[str, str]], since: str, tail: str) -> list[tuple[str, str]]:
    """Instants of a test stand for themselves: their seconds and nanoseconds are what `since` counts."""
    kept = log if tail == "all" else log[-int(tail) :]
    return [(at, text) for at, text in kept if since == "0" or at[17:29] >= _clock(since)]


def _clock(since: str) -> str:
    whole, _, nanoseconds = since.partition(".")
    return f"{int(whole) % 60:02}.{nanoseconds}"


def _acted(container: FakeContainer, verb: str) -> httpx.Response:
    before = container.status
    match verb:
        case "kill" if before != "exited":
            container.status, container.exit_code = "exited", _SIGKILLED
        case "stop" if before != "exited":
            container.status, container.exit_code = "exited", 0
        case "pause" if before == "running":
            container.status = "paused"
        case "unpause" if before == "paused":
            container.status = "running"
        case "start" if before == "exited":
            container.status, container.starts = "running", container.starts + 1
        case "start" if before == "running":
            return httpx.Response(304)
        case "wait" if before == "exited":
            return httpx.Response(200, json={"StatusCode": container.exit_code})
        case _:
            return httpx.Response(409, json={"message": f"cannot {verb} a container that is {before}"})
    return httpx.Response(204)


def _listed(container: FakeContainer) -> dict[str, Any]:
    labels = {
        "com.docker.compose.service": container.service,
        "com.docker.compose.container-number": str(container.number),
    }
    return {"Id": container.id, "Labels": labels}
