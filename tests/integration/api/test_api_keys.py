"""API keys are made, listed and revoked with the owner's rights, and stored as hashes."""

import hashlib

import pytest
from tests.support.database import Database

from middleman.adapters.postgres.api_keys import (
    PostgresCallers,
    create_api_key,
    list_api_keys,
    revoke_api_key,
)
from middleman.adapters.postgres.engine import engine, owner_engine
from middleman.adapters.postgres.reading import Reader


async def test_a_key_is_found_by_its_hash_until_it_is_revoked(database: Database) -> None:
    owner = owner_engine(database.dsn())
    api = engine(database.dsn("middleman_api"), application_name="keys", pool_size=1)
    try:
        secret = await create_api_key(owner, "shop", ["write", "read", "read"])
        digest = hashlib.sha256(secret.encode()).digest()
        caller = await PostgresCallers(Reader(api)).find(digest)
        assert caller is not None
        assert caller.scopes == {"read", "write"}
        [listed] = await list_api_keys(owner)
        assert (listed.id, listed.name, listed.scopes) == (caller.api_key_id, "shop", ("read", "write"))
        assert listed.revoked_at is None
        assert await revoke_api_key(owner, listed.id) is True
        assert await revoke_api_key(owner, listed.id) is False
        assert await PostgresCallers(Reader(api)).find(digest) is None
        [revoked] = await list_api_keys(owner)
        assert revoked.revoked_at is not None
    finally:
        await owner.dispose()
        await api.dispose()


async def test_the_secret_itself_is_stored_nowhere(database: Database) -> None:
    owner = owner_engine(database.dsn())
    secret = await create_api_key(owner, "shop", ["read"])
    await owner.dispose()
    assert len(secret) == len("mk_test_") + 64
    async with database.connect() as connection:
        stored = await connection.fetchval("SELECT row_to_json(k)::text FROM api_keys k")
    assert secret not in stored
    assert secret.removeprefix("mk_test_") not in stored


@pytest.mark.parametrize(("name", "scopes"), [("", ["read"]), ("shop", [])])
async def test_a_key_without_name_or_scope_is_refused(
    database: Database, name: str, scopes: list[str]
) -> None:
    owner = owner_engine(database.dsn())
    try:
        with pytest.raises(ValueError, match="needs a name and at least one scope"):
            await create_api_key(owner, name, scopes)  # type: ignore[arg-type]  # wrong on purpose
    finally:
        await owner.dispose()
