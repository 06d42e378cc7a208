"""One shot: tells the person who started the stack where it is, and its API key, which is shown once.

`docker compose run --rm welcome --show-key` shows it again.
"""

import os
import sys
from pathlib import Path

_TEXT = """
Middleman is up. The REST API: {url} (to try it: {url}/docs)

    export API={url}/v1 KEY={key}

    curl -sS $API/leadership -H "Authorization: Bearer $KEY"           # who leads
    curl -sS "$API/invoices?limit=3" -H "Authorization: Bearer $KEY"   # what was charged

{remark}
"""
_ONCE = "The key is shown this once; only its hash is in the database."
_AGAIN = "The key was shown at the first start: docker compose run --rm welcome --show-key"


def welcome(secrets_dir: Path, url: str, *, show_key: bool) -> str:
    """What to say; remembers that it was said."""
    shown = secrets_dir / "api-key-was-shown"
    again = shown.exists() and not show_key
    shown.touch()
    key = "mk_test_..." if again else (secrets_dir / "api-key").read_text()
    return _TEXT.format(url=url, key=key, remark=_AGAIN if again else _ONCE)


if __name__ == "__main__":
    print(
        welcome(Path(os.environ["SECRETS_DIR"]), os.environ["API_URL"], show_key="--show-key" in sys.argv[1:])
    )
