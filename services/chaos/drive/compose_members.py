"""Who is who in a compose project, and how each of them is: read from the engine, kept for a moment."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from chaos.drive.compose_engine import Engine
from chaos.drive.target import TargetError

KEPT_S = 0.05
"""Who polls asks fifty times a second, of several members: the engine is asked less often."""
_SERVICE = "com.docker.compose.service"
_NUMBER = "com.docker.compose.container-number"
_SIGNALLED = 128
SINGLE = ("postgres", "etcd-1", "etcd-2", "etcd-3", "sandbox")


@dataclass(frozen=True, slots=True)
class State:
    """How a container is. `addresses` and `aliases` are by the engine's name of each network it is on."""

    running: bool
    paused: bool
    exit_code: int | None
    addresses: Mapping[str, str]
    aliases: Mapping[str, list[str]]
    env: Mapping[str, str]

    @classmethod
    def of(cls, inspected: Mapping[str, Any]) -> Self:
        """From what the engine says. A process that a signal ended has an exit code below 0, as in `Target`."""
        state, networks = inspected["State"], inspected["NetworkSettings"]["Networks"] or {}
        running = bool(state["Running"]) and not state["Restarting"]
        code = int(state["ExitCode"])
        return cls(
            running=running,
            paused=bool(state["Paused"]),
            exit_code=None if running else _SIGNALLED - code if code > _SIGNALLED else code,
            addresses={name: each["IPAddress"] for name, each in networks.items() if each["IPAddress"]},
            aliases={name: list(each["Aliases"] or ()) for name, each in networks.items()},
            env=dict(line.split("=", 1) for line in inspected["Config"]["Env"] or ()),
        )


@dataclass(slots=True)
class Members:
    """The containers of a project by the names that `Target` has for them.

    A replica's is its container's short id, since that is what it calls itself; so is its host name.
    """

    engine: Engine
    ids: Mapping[str, str]
    replicas: tuple[str, ...]
    apis: tuple[str, ...]
    demos: tuple[str, ...]
    """Not members: who else charges subscribers here, and sets the clock."""
    _kept: dict[str, tuple[float, State]] = field(default_factory=dict)

    @classmethod
    def find(cls, engine: Engine, project: str) -> Self:
        """Raises `TargetError` when somebody is missing."""
        by_service: dict[str, list[tuple[int, str]]] = {}
        for each in engine.containers(project):
            labels = each["Labels"]
            by_service.setdefault(labels[_SERVICE], []).append((int(labels[_NUMBER]), each["Id"]))
        found = {service: sorted(containers) for service, containers in by_service.items()}
        if missing := [service for service in (*SINGLE, "api", "replica") if service not in found]:
            raise TargetError(
                f"the stack {project} has no {', '.join(missing)}: start it with `docker compose up -d --wait`"
            )
        replicas = {identity[:12]: identity for _, identity in found["replica"]}
        apis = {f"api-{number}": identity for number, identity in found["api"]}
        single = {service: found[service][0][1] for service in SINGLE}
        demos = tuple(identity for _, identity in found.get("demo", ()))
        return cls(engine, single | apis | replicas, tuple(replicas), tuple(apis), demos)

    @property
    def etcd(self) -> tuple[str, ...]:
        """etcd's members."""
        return tuple(name for name in self.ids if name.startswith("etcd-"))

    def container(self, name: str) -> str:
        """The container's id. Raises `TargetError` for a stranger."""
        try:
            return self.ids[name]
        except KeyError:
            raise TargetError(f"no member {name!r}: there are {', '.join(self.ids)}") from None

    def state(self, name: str) -> State:
        """How it is, as of `KEPT_S` ago at most. Raises `TargetError`."""
        at_s, state = self._kept.get(name, (0.0, None))
        now_s = time.monotonic()
        if state is None or now_s - at_s > KEPT_S:
            state = State.of(self.engine.inspect(self.container(name)))
            self._kept[name] = now_s, state
        return state

    def changed(self, name: str) -> None:
        """Something was done to it: what was known of it is known no more."""
        self._kept.pop(name, None)
