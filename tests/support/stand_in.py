"""A tiny stand-in for middleman's processes and the sandbox: any GET is answered with its environment.

Run as `stand_in.py KIND [options]`. The environment variables STAND_IN_* make it misbehave: DIE (exit
with that code at once), DEAF (ignore SIGTERM), NEVER_READY (503), JOURNAL (append the kind to this file
on SIGTERM).
"""

import http.server
import json
import os
import signal
import sys
from types import FrameType


def _name(kind: str) -> str:
    return os.environ.get("MIDDLEMAN_REPLICA_NAME", kind)


def _port(arguments: list[str]) -> int:
    if "--port" in arguments:
        return int(arguments[arguments.index("--port") + 1])
    return int(os.environ.get("MIDDLEMAN_API_PORT") or os.environ["MIDDLEMAN_OPS_PORT"])


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(dict(os.environ)).encode()
        self.send_response(503 if "STAND_IN_NEVER_READY" in os.environ else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the log is for what the tests look for."""


def main(kind: str, arguments: list[str]) -> int:
    """Serves until SIGTERM; `migrate` ends at once."""
    if "STAND_IN_DIE" in os.environ:
        print(f"{_name(kind)} dies as told", file=sys.stderr)
        return int(os.environ["STAND_IN_DIE"])
    if kind == "migrate":
        return 0

    def on_term(_signal: int, _frame: FrameType | None) -> None:
        if "STAND_IN_JOURNAL" in os.environ:
            with open(os.environ["STAND_IN_JOURNAL"], "a") as journal:
                journal.write(f"{kind}\n")
        if "STAND_IN_DEAF" not in os.environ:
            sys.exit(0)

    signal.signal(signal.SIGTERM, on_term)
    http.server.ThreadingHTTPServer(("127.0.0.1", _port(arguments)), _Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
