"""API keys on PostgreSQL: looked up by the API's role, made and revoked by the owner's."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from middleman.adapters.postgres.commits import transact, wait_for_what_was_read
from middleman.adapters.postgres.reading import Reader
from middleman.adapters.postgres.schema import api_keys
from middleman.adapters.ulid import new_id
from middleman.ports.api_keys import Caller, Scope

_PATIENCE_S = 30.0
_KEYS_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class PostgresCallers:
    """See `middleman.ports.api_keys.Callers`."""

    reader: Reader

    async def find(self, key_sha256: bytes) -> Caller | None:
        """See the port."""
        statement = select(api_keys.c.id, api_keys.c.scopes).where(
            api_keys.c.key_sha256 == key_sha256, api_keys.c.revoked_at.is_(None)
        )
        found = await self.reader.rows(statement)
        return Caller(found[0].id, frozenset(found[0].scopes)) if found else None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of an API key: everything but its secret."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


async def create_api_key(engine: AsyncEngine, name: str, scopes: Sequence[Scope]) -> str:
    """Make a key and return its secret, which is stored as a hash only: show it once. Needs the owner's URL."""
    if not name or not scopes:
        raise ValueError("an API key needs a name and at least one scope: read, write")
    secret = f"mk_test_{secrets.token_hex(32)}"
    digest = hashlib.sha256(secret.encode()).digest()
    row = {"id": new_id("key_"), "name": name, "key_sha256": digest, "scopes": sorted(set(scopes))}

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(insert(api_keys).values(row))

    await transact(engine, _PATIENCE_S, work)
    return secret


async def revoke_api_key(engine: AsyncEngine, key_id: str) -> bool:
    """End a key; API processes notice within seconds. False when there is no such key, or it is revoked.

    Neither answer is given before the standbys have it, so that no failover opens a key that was said to be revoked.
    """
    statement = (
        update(api_keys)
        .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=text("now()"))
    )

    async def work(connection: AsyncConnection) -> bool:
        done = await connection.execute(statement)
        await wait_for_what_was_read(connection)
        return bool(done.rowcount)

    return await transact(engine, _PATIENCE_S, work)


async def list_api_keys(engine: AsyncEngine) -> list[ApiKey]:
    """Active keys first, each kind newest first. What is cut off are old revoked ones."""
    columns = (
        api_keys.c.id,
        api_keys.c.name,
        api_keys.c.scopes,
        api_keys.c.created_at,
        api_keys.c.revoked_at,
    )
    async with engine.connect() as connection:
        found = await connection.execute(
            select(*columns)
            .order_by(api_keys.c.revoked_at.is_not(None), api_keys.c.created_at.desc(), api_keys.c.id.desc())
            .limit(_KEYS_SHOWN)
        )
        return [ApiKey(row.id, row.name, tuple(row.scopes), row.created_at, row.revoked_at) for row in found]
