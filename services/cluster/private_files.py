"""Files with secrets in them: mode 0600, and never half written."""

import json
import os
from pathlib import Path


def write_private_json(path: Path, value: object) -> None:
    """Writes beside the file and renames, so that a reader sees the old or the new content whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
    draft.replace(path)
