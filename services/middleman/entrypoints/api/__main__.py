"""`python -m middleman.entrypoints.api`: serves the REST API until SIGTERM or SIGINT.

Exit status 0 after a clean stop, 2 misconfigured (a busy port is a misconfiguration too).
"""

import asyncio
import signal
import socket

import structlog
import uvicorn

from middleman.bootstrap.api import build_api
from middleman.entrypoints.api.app import create_app
from middleman.entrypoints.startup import configure_logging
from middleman.settings import ApiSettings, load, refuse

# Requests at work get this long to end after SIGTERM; longer than any transaction may take.
GRACE_S = 12
_BACKLOG = 1024

log = structlog.get_logger()


def bind(host: str, port: int) -> socket.socket:
    """The listening socket, or exit status 2 with one line. Port 0 takes a free one."""
    listener: socket.socket | None = None
    try:
        # A name may have an IPv6 address only; the first address is the one that the system prefers.
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        refuse(
            f"cannot listen on MIDDLEMAN_API_HOST={host} MIDDLEMAN_API_PORT={port}: {error.strerror or error}"
        )
    return listener


async def serve(settings: ApiSettings, listener: socket.socket) -> None:
    """Serve until a signal asks to stop; requests at work are then finished first."""
    app = create_app(build_api(settings))
    config = uvicorn.Config(
        app,
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_S,
        lifespan="on",
        ws="none",
    )
    host, port = listener.getsockname()[:2]
    log.info("api.started", host=host, port=port, environment=settings.environment)
    await uvicorn.Server(config).serve(sockets=[listener])
    log.info("api.stopped")


def main() -> None:
    """Entry point of the process."""
    settings = load(ApiSettings)
    configure_logging("api", settings.log_format, settings.log_level)
    listener = bind(settings.api_host, settings.api_port)
    # uvicorn stops gracefully and then raises the signal once more: having obeyed it, we end with status 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with asyncio.Runner(loop_factory=_uvloop) as runner:
        runner.run(serve(settings, listener))


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


if __name__ == "__main__":
    main()
