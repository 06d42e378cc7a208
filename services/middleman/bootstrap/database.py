"""The pool of a process, from its settings."""

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.address import BadDatabaseUrl
from middleman.adapters.postgres.engine import engine
from middleman.settings import refuse


def database_pool(url: SecretStr, *, application_name: str, pool_size: int) -> AsyncEngine:
    """`middleman.adapters.postgres.engine.engine`; a URL that cannot be used exits with status 2 and one line."""
    try:
        return engine(url.get_secret_value(), application_name=application_name, pool_size=pool_size)
    except BadDatabaseUrl as error:
        refuse(f"MIDDLEMAN_DATABASE_URL: {error}")
