"""Reading without a transaction: one statement, one round trip, one answer or `StoreUnavailable`."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Executable, Row, Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.accounts_rows import as_value
from middleman.adapters.postgres.errors import translated
from middleman.ports.accounts import NoSuchRecord
from middleman.ports.records import Page

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads on a pool in autocommit. A read has `timeout_s`, the wait for a session included."""

    engine: AsyncEngine
    timeout_s: float = 5.0

    async def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """All rows. Raises StoreUnavailable."""
        with translated():
            async with asyncio.timeout(self.timeout_s):
                try:
                    return await self._read(statement)
                except DBAPIError as error:
                    if not error.connection_invalidated:
                        raise
                    # A session from before a restart of the database: reading again is harmless.
                    return await self._read(statement)

    async def one(self, kind: type[ValueT], statement: Select[Any], record_id: str) -> ValueT:
        """The only row, as a value. Raises NoSuchRecord, StoreUnavailable."""
        found = await self.rows(statement)
        if not found:
            words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind.__name__)
            raise NoSuchRecord(words.strip(), record_id)
        return as_value(kind, found[0])

    async def page(self, kind: type[ValueT], statement: Select[Any], limit: int) -> Page[ValueT]:
        """The first `limit` rows of an ordered statement. Raises StoreUnavailable."""
        found = await self.rows(statement.limit(limit + 1))
        return Page([as_value(kind, row) for row in found[:limit]], has_more=len(found) > limit)

    async def _read(self, statement: Executable) -> Sequence[Row[Any]]:
        async with self.engine.connect() as connection:
            return (await connection.execute(statement)).all()
