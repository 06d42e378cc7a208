"""The sandbox, our own Stripe-compatible processor, as a member."""

import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from cluster.environment import clean_environment
from cluster.health import answers_ok
from cluster.leashed import Command
from cluster.ports import HOST, reserve_port
from cluster.process import ManagedProcess

DEFAULT_COMMAND = (sys.executable, "-m", "stripe_sandbox")


class SandboxServer(ManagedProcess):
    """The sandbox with its ledger below `directory`; also an async context manager."""

    def __init__(
        self,
        directory: Path,
        *,
        api_key: str | None = None,
        admin_key: str | None = None,
        preferred_port: int | None = None,
        command: Sequence[str] = DEFAULT_COMMAND,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        log_path: Path | None = None,
    ) -> None:
        """Keys are generated unless given; `options` are further command line options of the sandbox."""
        self.api_key = api_key or f"sk_test_{secrets.token_hex(16)}"
        self.admin_key = admin_key or f"admin_{secrets.token_hex(16)}"
        self._directory = directory.absolute()
        self._reserved = reserve_port(preferred_port)
        self._base_command = tuple(command)
        self._options = tuple(options)
        self._env = dict(env or {})
        url = f"http://{HOST}:{self._reserved.number}"
        super().__init__(
            name="sandbox",
            kind="sandbox",
            command=self._server_command,
            log_path=log_path or self._directory / "sandbox.log",
            probe=lambda: answers_ok(f"{url}/livez"),
            port=self._reserved.number,
            url=url,
        )

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stops the sandbox and gives its port back; the ledger stays."""
        try:
            await self.stop()
        finally:
            self._reserved.release()

    def _server_command(self) -> Command:
        data = self._directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        argv = (
            *self._base_command,
            *("--host", HOST, "--port", str(self.port), "--data-dir", str(data)),
            *("--api-key", self.api_key, "--admin-key", self.admin_key),
            *self._options,
        )
        return Command(argv, clean_environment() | self._env)
