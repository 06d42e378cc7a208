"""Where a running system can be reached, and with which keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Access:
    """Addresses and keys of everything that is driven from outside.

    `database_url` is the superuser's, to look and to hurt; `judge_database_url` may only read. `ops_urls` has the
    operations endpoint of every replica by its name, reached past any link. `ops_token` lets `POST /leader/resign`,
    `webhook_secret` signs what the API takes for the processor's; empty where it is not at hand.
    """

    api_urls: tuple[str, ...]
    api_key: str
    database_url: str
    judge_database_url: str
    sandbox_url: str
    sandbox_api_key: str
    sandbox_admin_key: str
    ops_urls: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ops_token: str = ""
    webhook_secret: str = ""
