"""Who may call the REST API."""

from dataclasses import dataclass
from typing import Literal, Protocol

Scope = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The API key behind a request. Its secret is nowhere in it."""

    api_key_id: str
    scopes: frozenset[str]


class Callers(Protocol):
    """API keys by the hash of their secret."""

    async def find(self, key_sha256: bytes) -> Caller | None:
        """None for an unknown or revoked key. Raises StoreUnavailable."""
        ...
