"""Command line: starts the sandbox, says when it is ready, stops it cleanly on SIGTERM and SIGINT."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import structlog
import uvloop

from stripe_sandbox.app import Sandbox
from stripe_sandbox.http import Connection, close_idle
from stripe_sandbox.storage import LedgerUnusable, Storage
from stripe_sandbox.webhooks import Endpoint, deliver_events

log = structlog.get_logger("stripe_sandbox")
MISUSE = 2


class Misuse(Exception):
    """The sandbox cannot start as asked; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Options:
    host: str
    port: int
    data_dir: Path
    api_key: str
    admin_key: str
    rate_limit_per_s: float | None
    account_rate_limit_per_s: float | None
    seed: int
    webhook: Endpoint | None
    log_format: str


class _OneLine(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # argparse says NoReturn: so it is, by raising
        raise Misuse(message)


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Options from the command line. Raises `Misuse`."""
    parser = _OneLine(
        prog="stripe_sandbox", description="A Stripe-compatible payment processor for demos and tests."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one (default)")
    parser.add_argument("--data-dir", type=Path, required=True, help="where the ledger is kept")
    _add_secret(parser, "--api-key", "the account's secret key, sk_test_…", required=True)
    _add_secret(parser, "--admin-key", "bearer key of /admin", required=True)
    parser.add_argument("--webhook-url", help="where events are delivered")
    _add_secret(parser, "--webhook-secret", "whsec_…, signs the deliveries; needed with --webhook-url")
    parser.add_argument(
        "--webhook-event",
        action="append",
        default=[],
        metavar="TYPE",
        help="deliver events of this type only, such as payment_intent.succeeded; may be repeated (default: all)",
    )
    parser.add_argument("--rate-limit-per-s", type=float, help="requests per second and operation before 429")
    parser.add_argument(
        "--account-rate-limit-per-s",
        type=float,
        help="requests per second of the whole account before 429; Stripe has 100 live, 25 in a sandbox",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of what is left to chance: when each idempotency key is forgotten",
    )
    parser.add_argument(
        "--log-format",
        choices=("auto", "json", "console"),
        default="auto",
        help="how the log on stderr looks; auto (default): for people on a terminal, else JSON lines",
    )
    given = parser.parse_args(arguments)
    if not 0 <= given.port <= 65535:
        raise Misuse(f"--port {given.port} is no port: choose 0 to 65535")
    if not given.api_key.startswith(("sk_test_", "rk_test_")):
        raise Misuse(
            "--api-key must start with sk_test_: this sandbox moves no real money and takes no live key"
        )
    if not given.admin_key:
        raise Misuse("--admin-key is empty: choose one")
    for name in ("rate_limit_per_s", "account_rate_limit_per_s"):
        limit = getattr(given, name)
        if limit is not None and not 0 < limit < 1e6:
            raise Misuse(f"--{name.replace('_', '-')} must be above 0")
    return Options(
        given.host,
        given.port,
        given.data_dir,
        given.api_key,
        given.admin_key,
        given.rate_limit_per_s,
        given.account_rate_limit_per_s,
        given.seed,
        _webhook(given),
        given.log_format,
    )


def _add_secret(parser: argparse.ArgumentParser, name: str, meaning: str, *, required: bool = False) -> None:
    """A secret as an option, which everybody on the machine can see, or from a file, which not everybody can read."""
    either = parser.add_mutually_exclusive_group(required=required)
    either.add_argument(name, help=meaning)
    either.add_argument(
        f"{name}-file", dest=name[2:].replace("-", "_"), type=_content, help="the same, from this file"
    )


def _content(path: str) -> str:
    try:
        return Path(path).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"cannot read {path}: {error}") from error


def _webhook(given: argparse.Namespace) -> Endpoint | None:
    if given.webhook_url is None:
        for name, value in (
            ("--webhook-secret", given.webhook_secret),
            ("--webhook-event", given.webhook_event),
        ):
            if value:
                raise Misuse(f"{name} without --webhook-url: give both or neither")
        return None
    if urlsplit(given.webhook_url).scheme not in ("http", "https"):
        raise Misuse(f"--webhook-url {given.webhook_url} is no http(s) URL")
    if not (given.webhook_secret or "").startswith("whsec_"):
        raise Misuse("--webhook-url needs --webhook-secret whsec_…")
    # Any word may be a type: Stripe has hundreds, and ours are a few of them.
    return Endpoint(given.webhook_url, given.webhook_secret, frozenset(given.webhook_event))


async def serve(options: Options) -> None:
    """Runs until SIGTERM or SIGINT. Raises `Misuse` where the port or the ledger cannot be had."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        storage = Storage(options.data_dir)
    except LedgerUnusable as error:
        raise Misuse(str(error)) from error
    sandbox = Sandbox(
        storage,
        api_key=options.api_key,
        admin_key=options.admin_key,
        rate_limit_per_s=options.rate_limit_per_s,
        account_rate_limit_per_s=options.account_rate_limit_per_s,
        seed=options.seed,
        delivers=(lambda _: False) if options.webhook is None else options.webhook.wants,
    )
    connections: set[Connection] = set()
    try:
        server = await loop.create_server(
            lambda: Connection(sandbox, connections), options.host, options.port, backlog=1024
        )
    except OSError as error:
        storage.close()
        raise Misuse(
            f"cannot listen on {options.host}:{options.port}: {error.strerror or error}; choose another --port"
        ) from error
    tasks: list[asyncio.Task[None]] = [asyncio.create_task(close_idle(connections))]
    if options.webhook is not None:
        tasks.append(asyncio.create_task(deliver_events(options.webhook, sandbox, storage)))
    port = server.sockets[0].getsockname()[1]
    _say_ready(port)
    log.info(
        "sandbox.started",
        port=port,
        data_dir=str(options.data_dir),
        intents=len(sandbox.world.payment_intents.ordered),
    )
    stopped = asyncio.create_task(stop.wait())
    # A background task ends only by failing: then the whole process does, instead of running on without it.
    ended, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    server.close()
    for task in (stopped, *tasks):
        task.cancel()
    await asyncio.gather(stopped, *tasks, return_exceptions=True)
    sandbox.flush()
    for connection in list(connections):
        connection.close()
    storage.close()
    log.info("sandbox.stopped")
    for task in ended:
        task.result()


def _say_ready(port: int) -> None:
    line = orjson.dumps({"event": "sandbox.ready", "port": port, "pid": os.getpid()}) + b"\n"
    # A starter that reads no more than it wants may have closed the pipe.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def _configure_log(log_format: str) -> None:
    """JSON lines on stderr, or colours where a person looks on (`auto` decides by the terminal)."""
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "console" or (log_format == "auto" and sys.stderr.isatty()):
        # Shows exceptions itself, and for people.
        shown: list[structlog.typing.Processor] = [structlog.dev.ConsoleRenderer()]
    else:
        shown = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(processors=shared + shown, logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 after a clean stop, 2 with one line on stderr where it cannot start as asked."""
    try:
        options = parse(arguments)
        _configure_log(options.log_format)
        uvloop.run(serve(options))
    except Misuse as error:
        print(f"stripe_sandbox: {error}", file=sys.stderr)
        return MISUSE
    return 0
