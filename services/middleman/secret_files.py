"""Settings from files: where `NAME` may stand in the environment, `NAME_FILE` may name a file that holds it.

So a secret need not be in an environment, where every child process and `docker inspect` would show it.
"""

import os
from pathlib import Path


class SecretFileError(Exception):
    """The message names the setting and says what to do."""


def from_file(name: str) -> str | None:
    """What the file named by `<name>_FILE` holds, without the line's end; None where none is named.

    Raises `SecretFileError` when it cannot be read, and when the setting itself stands in the environment too.
    """
    path = os.environ.get(f"{name}_FILE", "")
    if not path:
        return None
    if os.environ.get(name):
        raise SecretFileError(f"{name} and {name}_FILE are both set: unset one of them")
    try:
        return Path(path).read_text().rstrip("\r\n")
    except OSError as error:
        raise SecretFileError(
            f"{name}_FILE={path} cannot be read: {error.strerror}; name a file that this process may read"
        ) from error
    except UnicodeDecodeError as error:
        raise SecretFileError(f"{name}_FILE={path} is not UTF-8 text: name the file that holds it") from error
