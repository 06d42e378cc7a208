"""The compose stack as an operator handles it: the `docker` command, the REST API, Prometheus. Nothing is mocked."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "middleman:local"
COMMAND_TIMEOUT_S = 300.0
CHAOS_TIMEOUT_S = 550.0
_POLL_S = 0.2

T = TypeVar("T")


class CommandFailed(Exception):
    """A docker command failed; the message has what it said."""


def docker(
    *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = COMMAND_TIMEOUT_S
) -> str:
    """Standard output; raises `CommandFailed`."""
    done = _run(arguments, env, timeout_s)
    if done.returncode != 0:
        raise CommandFailed(
            f"docker {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def _run(
    arguments: Sequence[str], env: Mapping[str, str] | None, timeout_s: float = COMMAND_TIMEOUT_S
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ("docker", *arguments),
        cwd=ROOT,
        env=dict(os.environ) | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def until(found: Callable[[], T | None], what: str, timeout_s: float = 60.0) -> T:
    """What `found` returns as soon as it is not None; docker and HTTP faults in between are waited out."""
    deadline_s = time.monotonic() + timeout_s
    last: Exception | None = None
    while time.monotonic() < deadline_s:
        try:
            value = found()
        except (httpx.HTTPError, CommandFailed) as error:
            last, value = error, None
        if value is not None:
            return value
        time.sleep(_POLL_S)
    raise AssertionError(f"{what}: not within {timeout_s:g} s ({last})")


@dataclass(slots=True)
class Stack:
    """One compose project of its own name and ports, so that a demo beside it is left alone."""

    project: str
    environment: Mapping[str, str] = field(default_factory=dict)
    _key: str = ""

    def compose(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """`docker compose …` on this project; standard output."""
        return docker("compose", "-p", self.project, *arguments, env=self._env, timeout_s=timeout_s)

    def compose_complaints(self, *arguments: str) -> str:
        """What `docker compose …` writes to standard error."""
        return _run(("compose", "-p", self.project, *arguments), self._env).stderr

    @property
    def _env(self) -> dict[str, str]:
        ports = dict.fromkeys(
            ("API_PORT", "SANDBOX_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT"), ""
        )  # any free one
        return {**ports, "STRIPE_API_KEY": "", **self.environment}

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """`docker inspect` of the service's running containers; of all services' without one."""
        ids = self.compose("ps", "-q", *([service] if service else [])).split()
        found: list[dict[str, Any]] = json.loads(docker("inspect", *ids)) if ids else []
        return found

    def url(self, service: str, port: int) -> str:
        """Where a published port is reached from outside."""
        return f"http://{self.compose('port', service, str(port)).strip()}"

    @property
    def api_key(self) -> str:
        """The key that the stack made for itself."""
        if not self._key:
            told = self.compose("run", "--rm", "--no-deps", "-T", "welcome", "--show-key")
            self._key = next(word.removeprefix("KEY=") for word in told.split() if word.startswith("KEY="))
        return self._key

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """A GET at the REST API."""
        return self._asked("GET", path, params=query)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A POST at the REST API."""
        return self._asked("POST", path, json=dict(body))

    def _asked(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.api_key}"}
        url = self.url("api", 8000) + path
        answer = httpx.request(method, url, headers=headers, timeout=10, trust_env=False, **what)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content

    def leader(self) -> tuple[str, int]:
        """(container, term) of who leads; waits until somebody does."""

        def found() -> tuple[str, int] | None:
            term = self.get("/v1/leadership")["term"]
            if term is None or term["ended_at"] is not None:
                return None
            return str(term["holder"]).partition("#")[0], int(term["number"])

        return until(found, "somebody leads")

    def first_charge(self, *, after_term: int) -> tuple[int, datetime]:
        """(term, time) of the first attempt that a later term settled; waits for it."""

        def found() -> tuple[int, datetime] | None:
            events = self.get("/v1/events", kind="attempt.settled", order="newest_first", limit=100)["data"]
            later = [each for each in events if each["term"] is not None and each["term"] > after_term]
            if not later:
                return None
            return later[-1]["term"], datetime.fromisoformat(later[-1]["at"])

        return until(found, f"a term after {after_term} charges")

    def charges_go_on(self) -> None:
        """Waits until something is settled that was not when this was called."""
        newest = until(self._newest_charge, "the API answers")
        until(lambda: True if self._newest_charge() > newest else None, "charging goes on")

    def _newest_charge(self) -> int:
        events = self.get("/v1/events", kind="attempt.settled", order="newest_first", limit=1)["data"]
        return int(events[0]["seq"]) if events else 0

    def verdict(self, *options: str) -> dict[str, Any]:
        """The judge's, as JSON."""
        # Not by its exit status: a verdict that does not hold is to be shown, not to be an error of docker's.
        arguments = (
            "compose",
            "-p",
            self.project,
            "run",
            "--rm",
            "--no-deps",
            "-T",
            "judge",
            "--json",
            *options,
        )
        done = _run(arguments, self._env)
        try:
            verdict: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise CommandFailed(f"no verdict: {done.stdout}{done.stderr}") from None
        return verdict

    def chaos(self, scenarios: str, report_dir: Path) -> tuple[int, str, dict[str, Any]]:
        """`middleman chaos run --target compose`: its exit status, what it said, and its report."""
        command = (sys.executable, "-m", "middleman.entrypoints.cli", "chaos", "run", "--target", "compose")
        done = subprocess.run(
            (*command, "--scenario", scenarios, "--report", str(report_dir)),
            cwd=ROOT,
            env=dict(os.environ) | self._env | {"COMPOSE_PROJECT_NAME": self.project},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=CHAOS_TIMEOUT_S,
            check=False,
        )
        written = report_dir / "report.json"
        report: dict[str, Any] = json.loads(written.read_text()) if written.exists() else {}
        return done.returncode, done.stdout + done.stderr, report

    def down(self) -> None:
        """Away with everything, volumes and all."""
        self.compose("--profile", "*", "down", "-v", "--remove-orphans", "--timeout", "10")

    def left_behind(self) -> list[str]:
        """Containers, volumes and networks of this project."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds = (("ps", "-a"), ("volume", "ls"), ("network", "ls"))
        return [line for kind in kinds for line in docker(*kind, "-q", "--filter", label).split()]


def disconnect(network: str, container: str) -> list[str]:
    """Cut a container from a network; the aliases that it needs to come back as who it was."""
    inspected = json.loads(docker("inspect", container))[0]
    aliases: list[str] = inspected["NetworkSettings"]["Networks"][network]["Aliases"]
    docker("network", "disconnect", network, container)
    return aliases


def reconnect(network: str, container: str, aliases: Sequence[str]) -> None:
    """Undo `disconnect`."""
    docker("network", "connect", *(f"--alias={alias}" for alias in aliases), network, container)
