"""API keys for the command line: made, listed and revoked with the owner's database URL."""

from collections.abc import Sequence

from middleman.adapters.postgres import api_keys
from middleman.adapters.postgres.api_keys import ApiKey
from middleman.bootstrap.owner import as_owner
from middleman.ports.api_keys import Scope


async def create(database_url: str, name: str, scopes: Sequence[Scope]) -> str:
    """The secret of a new key: shown once, stored as a hash."""
    async with as_owner(database_url) as engine:
        return await api_keys.create_api_key(engine, name, scopes)


async def revoke(database_url: str, key_id: str) -> bool:
    """Whether there was such a key, not revoked yet."""
    async with as_owner(database_url) as engine:
        return await api_keys.revoke_api_key(engine, key_id)


async def all_keys(database_url: str) -> list[ApiKey]:
    """Every key without its secret, newest first."""
    async with as_owner(database_url) as engine:
        return await api_keys.list_api_keys(engine)
