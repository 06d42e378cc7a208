"""The Docker engine by its API, over its socket: the few calls that it takes to hurt a compose stack.

https://docs.docker.com/reference/api/engine/. Not by the `docker` command, which would double the image.
"""

import json
from pathlib import Path
from typing import Any, Self

import httpx

from chaos.drive.target import TargetError

CALL_TIMEOUT_S = 20.0
LOOK_TIMEOUT_S = 5.0
API_VERSION = (1, 41)
"""Of Docker 20.10. Newer engines refuse old versions some day; then the oldest that they speak is taken."""
_PROJECT = "com.docker.compose.project"


class Engine:
    """Acts are awaited; looks are not, since `Target` is asked without awaiting: each takes some milliseconds.

    Everything raises `TargetError`. Await `open` first and `close` last.
    """

    def __init__(self, acting: httpx.AsyncBaseTransport, looking: httpx.BaseTransport) -> None:
        self._acting = httpx.AsyncClient(transport=acting, base_url="http://docker", timeout=CALL_TIMEOUT_S)
        self._looking = httpx.Client(transport=looking, base_url="http://docker", timeout=LOOK_TIMEOUT_S)
        self._version = ""

    @classmethod
    def at(cls, socket: Path) -> Self:
        """The engine behind a Unix socket."""
        return cls(httpx.AsyncHTTPTransport(uds=str(socket)), httpx.HTTPTransport(uds=str(socket)))

    async def open(self) -> None:
        """Agree on a version of the API."""
        told = self._look("/version")
        oldest = tuple(int(part) for part in told["MinAPIVersion"].split("."))
        self._version = "/v" + ".".join(map(str, max(API_VERSION, oldest)))

    async def close(self) -> None:
        """Close all connections."""
        self._looking.close()
        await self._acting.aclose()

    def containers(self, project: str) -> list[dict[str, Any]]:
        """The project's containers, stopped ones too, without what `docker compose run` started."""
        labels = [f"{_PROJECT}={project}", "com.docker.compose.oneoff=False"]
        filters = json.dumps({"label": labels})
        found: list[dict[str, Any]] = self._look(
            f"{self._version}/containers/json", all="true", filters=filters
        )
        return found

    def networks(self, project: str) -> dict[str, str]:
        """The engine's name of each of the project's networks, by its name in the compose file."""
        filters = json.dumps({"label": [f"{_PROJECT}={project}"]})
        found = self._look(f"{self._version}/networks", filters=filters)
        return {each["Labels"]["com.docker.compose.network"]: each["Name"] for each in found}

    def inspect(self, container: str) -> dict[str, Any]:
        """Everything about one container."""
        found: dict[str, Any] = self._look(f"{self._version}/containers/{container}/json")
        return found

    def log(self, container: str, *, since: str, tail: str) -> bytes:
        """What it wrote from `since` (seconds since 1970) on, at most the last `tail` lines, as the engine frames it.

        Each line begins with its instant.
        """
        asked = {"stdout": "true", "stderr": "true", "timestamps": "true", "since": since, "tail": tail}
        return self._looked(f"{self._version}/containers/{container}/logs", **asked).content

    async def act(self, container: str, verb: str, timeout_s: float = CALL_TIMEOUT_S, **how: str) -> None:
        """`start`, `stop`, `kill`, `pause`, `unpause`, `wait`; one that is so already is left alone."""
        path = f"/containers/{container}/{verb}"
        answer = await self._post(path, timeout_s, params=how)
        if (
            answer.is_error and answer.status_code != httpx.codes.CONFLICT
        ):  # "is not running", "is already paused"
            raise TargetError(f"docker {verb} {container[:12]}: {_reason(answer)}")

    async def disconnect(self, network: str, container: str) -> None:
        """Take a container off a network."""
        await self._on_network("disconnect", network, {"Container": container})

    async def connect(self, network: str, container: str, aliases: list[str]) -> None:
        """Put a container on a network, where it is found under these names."""
        await self._on_network(
            "connect", network, {"Container": container, "EndpointConfig": {"Aliases": aliases}}
        )

    async def _on_network(self, verb: str, network: str, body: dict[str, Any]) -> None:
        answer = await self._post(f"/networks/{network}/{verb}", CALL_TIMEOUT_S, json=body)
        if answer.is_error:
            raise TargetError(f"docker network {verb} {network} {body['Container'][:12]}: {_reason(answer)}")

    async def _post(self, path: str, timeout_s: float, **what: Any) -> httpx.Response:
        try:
            return await self._acting.post(f"{self._version}{path}", timeout=timeout_s, **what)
        except httpx.HTTPError as error:
            raise TargetError(f"the Docker engine: POST {path}: {type(error).__name__}: {error}") from error

    def _look(self, path: str, **query: str) -> Any:
        return self._looked(path, **query).json()

    def _looked(self, path: str, **query: str) -> httpx.Response:
        try:
            answer = self._looking.get(path, params=query)
        except httpx.HTTPError as error:
            raise TargetError(
                f"the Docker engine does not answer GET {path} ({type(error).__name__}: {error}): "
                "is its socket mounted, and may we use it?"
            ) from error
        if answer.is_error:
            raise TargetError(f"the Docker engine: GET {path}: {_reason(answer)}")
        return answer


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"
