"""Where the container `chaos` of the compose file finds its stack, and with which keys."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chaos.drive.access import Access
from chaos.drive.target import TargetError

PROJECT = "MIDDLEMAN_CHAOS_PROJECT"
"""Set in that container only: whoever has it runs inside."""
API_PORT = 8000
SANDBOX_URL = "http://sandbox:12111"


@dataclass(frozen=True, slots=True)
class Place:
    """One compose project as seen from inside: `secrets_dir` has a directory for each of `owner`, `operator`, `sandbox`."""

    project: str
    secrets_dir: Path
    socket: Path = Path("/var/run/docker.sock")

    @classmethod
    def from_environment(cls) -> Self:
        """As the compose file says. Raises `TargetError`."""
        if os.environ.get("STRIPE_API_KEY"):
            raise TargetError(
                "this stack charges at Stripe, whose ledger no judge can read and which nobody may hurt: "
                "start one without STRIPE_API_KEY"
            )
        try:
            return cls(os.environ[PROJECT], Path(os.environ["SECRETS_DIR"]))
        except KeyError as error:
            raise TargetError(
                f"{error.args[0]} is not set: run the service `chaos` of the compose file"
            ) from None

    def access(self, apis: tuple[str, ...], ops_urls: Mapping[str, str]) -> Access:
        """With the keys as they are on disk. Raises `TargetError`."""
        return Access(
            api_urls=tuple(f"http://{host}:{API_PORT}" for host in apis),
            api_key=self._secret("operator/api-key"),
            database_url=self._secret("owner/database-url"),
            judge_database_url=self._secret("operator/judge-database-url"),
            sandbox_url=SANDBOX_URL,
            sandbox_api_key=self._secret("sandbox/api-key"),
            sandbox_admin_key=self._secret("operator/sandbox-admin-key"),
            ops_urls=ops_urls,
            ops_token=self._secret("operator/ops-token"),
            webhook_secret=self._secret_if_any("operator/stripe-webhook-secret"),
        )

    def _secret_if_any(self, name: str) -> str:
        """What a stack that was last started by an older version does not have yet."""
        return self._secret(name) if (self.secrets_dir / name).exists() else ""

    def _secret(self, name: str) -> str:
        try:
            return (self.secrets_dir / name).read_text().strip()
        except OSError as error:
            raise TargetError(f"cannot read the secret {name}: {error.strerror}: has `init` run?") from error
