"""The secrets of one cluster, generated once and kept with its data, so that a restart works."""

import json
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from cluster.private_files import write_private_json

_FILE = "keys.json"


@dataclass(frozen=True, slots=True)
class ClusterKeys:
    """Passwords of the database roles, the API key that migrations create, the sandbox's keys, what
    `POST /leader/resign` at a replica's operations endpoint asks for, and what signs webhooks to the API.
    """

    db_password_api: str
    db_password_replica: str
    db_password_judge: str
    api_key: str
    sandbox_api_key: str
    sandbox_admin_key: str
    ops_token: str
    webhook_secret: str

    @classmethod
    def generate(cls) -> Self:
        """New random keys."""
        return cls(
            db_password_api=secrets.token_hex(24),
            db_password_replica=secrets.token_hex(24),
            db_password_judge=secrets.token_hex(24),
            api_key=f"mk_test_{secrets.token_hex(24)}",
            sandbox_api_key=f"sk_test_{secrets.token_hex(24)}",
            sandbox_admin_key=f"admin_{secrets.token_hex(24)}",
            ops_token=f"ops_{secrets.token_hex(24)}",
            webhook_secret=f"whsec_{secrets.token_hex(24)}",
        )

    @classmethod
    def load_or_generate(cls, data_dir: Path) -> Self:
        """The keys kept in `data_dir`; missing ones are generated and kept."""
        path = data_dir / _FILE
        kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        known = {field.name for field in fields(cls)}
        keys = cls(**(asdict(cls.generate()) | {name: kept[name] for name in kept if name in known}))
        write_private_json(path, asdict(keys))
        return keys
