"""The processor: takes requests, executes them one by one in memory, and lets replies go after their commit."""

import asyncio
import os
from collections.abc import Callable
from time import monotonic

import orjson
import structlog

from stripe_sandbox import errors
from stripe_sandbox.admin.api import AdminApi
from stripe_sandbox.auth import check_secret_key
from stripe_sandbox.clock import Clock
from stripe_sandbox.errors import StripeError
from stripe_sandbox.faults import NO_FAULT, PROXY, Faults, Plan
from stripe_sandbox.forms import Form, Pairs, decode_form, decode_pairs, fingerprint
from stripe_sandbox.http import Connection, Ending, Reply, Request, json_reply
from stripe_sandbox.idempotency import IdempotencyKeys, Replay
from stripe_sandbox.ids import new_id
from stripe_sandbox.metrics import prometheus_reply
from stripe_sandbox.model import KeyRecord
from stripe_sandbox.operation import Context, Later, Operation
from stripe_sandbox.ratelimit import RateLimit
from stripe_sandbox.resources.common import subject
from stripe_sandbox.resources.confirmation import end_lingering
from stripe_sandbox.resources.events import API_VERSION
from stripe_sandbox.resources.expanded import expand
from stripe_sandbox.routing import OPERATIONS, Router
from stripe_sandbox.stats import Stats
from stripe_sandbox.storage import Storage
from stripe_sandbox.versions import check_version
from stripe_sandbox.world import World

log = structlog.get_logger("stripe_sandbox")

Answer = Callable[[], Reply]


class Call:
    """One request on its way: what it asks, which key it holds, which faults await it."""

    __slots__ = (
        "connection",
        "form",
        "key",
        "object_id",
        "operation",
        "pairs",
        "plan",
        "record",
        "request",
        "request_id",
        "started_s",
    )

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.started_s = monotonic()
        self.request_id = new_id("req")
        # An empty key is none, as at Stripe.
        self.key = request.headers.get("idempotency-key", "") if request.method == "POST" else ""
        self.operation: Operation | None = None
        self.object_id = ""
        self.pairs: Pairs = []
        self.form: Form = {}
        self.plan: Plan = NO_FAULT
        self.record: KeyRecord | None = None


class Sandbox:
    """Handles every request. One instance per process; everything runs on the event loop's thread."""

    def __init__(
        self,
        storage: Storage,
        *,
        api_key: str,
        admin_key: str,
        rate_limit_per_s: float | None = None,
        account_rate_limit_per_s: float | None = None,
        seed: int = 0,
        delivers: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`delivers`: whether events of a type go to a webhook. `seed`: of what is left to chance."""
        self._storage = storage
        self._api_key = api_key
        self._delivers = delivers
        self._loop = asyncio.get_running_loop()
        self._clock = Clock(float(storage.meta("clock_offset_s") or 0))
        self.world = World(self._clock)
        self.world.load(storage.objects())
        self.world.event_seq = storage.last_event_seq()
        self.keys = IdempotencyKeys(self.world, self._clock, seed)
        self.keys.load(storage.keys())
        self.faults = Faults()
        self.stats = Stats()
        self._router = Router()
        self._contexts = {
            operation.name: Context(
                self.world, storage, self.faults.decline, self.faults.linger, operation.name
            )
            for operation in OPERATIONS
        }
        self._rate_limit = None if rate_limit_per_s is None else RateLimit(rate_limit_per_s, self._loop.time)
        self._account_rate_limit = (
            None
            if account_rate_limit_per_s is None
            else RateLimit(account_rate_limit_per_s, self._loop.time, reason="global-rate")
        )
        self._admin = AdminApi(
            admin_key, self.world, self.keys, self.faults, self.stats, self._clock, storage
        )
        self._outbox: list[tuple[Call, Answer]] = []
        self.events_committed = asyncio.Event()

    def http_date(self) -> str:
        """See `Handler`: by the sandbox's clock, which a test may move."""
        return self._clock.http_date()

    # From arrival to execution.

    def handle(self, connection: Connection, request: Request) -> None:
        """Takes one request; its reply leaves after the next commit, or later where a fault says so."""
        call = Call(connection, request)
        if self.world.lingering:
            end_lingering(self.world)
        path = request.path
        if path.startswith("/v1/"):
            try:
                self._accept(call)
            except StripeError as error:
                self._refuse(call, error)
            except Exception:
                log.exception("request.crashed", path=path, request_id=call.request_id)
                self._refuse(call, errors.api_error(remembered=False))
        elif path.startswith("/admin/"):
            self._enqueue(call, lambda: self._admin.answer(request))
        elif path == "/livez":
            self._enqueue(call, lambda: json_reply(200, {"status": "ok"}))
        elif path == "/readyz":
            self._enqueue(call, self._ready)
        elif path == "/metrics":
            self._enqueue(call, self._metrics)
        else:
            self._refuse(call, errors.unknown_url(request.method, path[:500]))

    def _metrics(self) -> Reply:
        return prometheus_reply(
            self.stats.view(self.world), self.stats, self.keys.outcomes, self._storage.pending_deliveries()
        )

    def _ready(self) -> Reply:
        trouble = self._storage.trouble()
        if trouble is None:
            return json_reply(200, {"status": "ok"})
        return json_reply(503, {"status": "not ready", "reason": trouble}, (("Retry-After", "1"),))

    def _accept(self, call: Call) -> None:
        request = call.request
        check_secret_key(request.headers.get("authorization"), self._api_key)
        check_version(request.headers.get("stripe-version"))
        operation, call.object_id = self._router.find(request.method, request.path)
        call.operation = operation
        call.pairs = decode_pairs(request.query) + _decode_body(request)
        call.form = decode_form(call.pairs)
        if self.faults.rules:
            call.plan = self.faults.plan(operation.name, *subject(self.world, call.object_id, call.form))
        plan = call.plan
        if plan.rate_limit is not None:
            raise errors.rate_limited(
                plan.rate_limit.get("reason", "endpoint-rate"), plan.rate_limit.get("retry_after_s")
            )
        if self._account_rate_limit is not None:
            self._account_rate_limit.check("")
        if self._rate_limit is not None:
            self._rate_limit.check(operation.name)
        if plan.refuse is not None and plan.refuse["reason"] == PROXY:
            status = plan.refuse.get("status", 407)
            self._enqueue(call, lambda: self._of_a_proxy(call, status))
            return
        if plan.before and plan.ending is not Ending.REPLY:
            self.stats.dropped += 1
            self._loop.call_later(plan.latency_s + plan.hang_s, self._finish, call, _NOTHING)
            return
        if call.key and self._replays(call):
            return
        if plan.latency_s:
            self._loop.call_later(plan.latency_s, self._execute, call, operation)
        else:
            self._execute(call, operation)

    def _replays(self, call: Call) -> bool:
        """Reserves the call's key. True when the key already has its answer, which is then on its way."""
        request = call.request
        held = self.keys.reserve(call.key, request.method, request.path, fingerprint(call.pairs))
        if isinstance(held, Replay):
            self._enqueue(call, lambda: self._replayed(call, held))
            return True
        call.record = held
        return False

    # Execution, and its reply.

    def _execute(self, call: Call, operation: Operation) -> None:
        record, forced = call.record, call.plan.error_500
        status, remembered, later = 200, True, None
        headers: tuple[tuple[str, str], ...] = ()
        body = b""
        try:
            params = operation.spec.parse(call.form)
            if call.plan.refuse is not None:
                raise errors.account_refusal(
                    call.plan.refuse["reason"], remembered=call.plan.refuse.get("stored", True)
                )
            if forced is None or forced.get("executed", False):
                if record is not None:
                    record.executions += 1
                self.world.cause = (call.request_id, call.key or None)
                result = operation.run(self._contexts[operation.name], call.object_id, params)
                if isinstance(result, Later):
                    later = result
                else:
                    if "expand" in params:
                        expand(self.world, result, params["expand"])
                    body = orjson.dumps(result)
            if forced is not None:
                raise errors.api_error(remembered=forced.get("stored", True))
        except StripeError as error:
            status, remembered, headers = error.status, error.remembered, error.headers
            body = orjson.dumps(error.body())
        except Exception:
            log.exception("request.crashed", operation=operation.name, request_id=call.request_id)
            status, body = 500, orjson.dumps(errors.api_error(remembered=True).body())
        if record is not None and remembered:
            self.keys.remember(record, status, call.request_id, body)
        if later is not None:
            read = later.read
            self._enqueue(call, lambda: self._read(call, read))
        else:
            self._enqueue(call, lambda: self._reply(call, status, body, headers))

    def _of_a_proxy(self, call: Call, status: int) -> Reply:
        self.stats.answered("unrouted" if call.operation is None else call.operation.name, status)
        return Reply(status, b"<html><body>Refused by a proxy.</body></html>", content_type="text/html")

    def _refuse(self, call: Call, error: StripeError) -> None:
        body = orjson.dumps(error.body())
        self._enqueue(call, lambda: self._reply(call, error.status, body, error.headers))

    def _read(self, call: Call, read: Callable[[], dict[str, object]]) -> Reply:
        try:
            return self._reply(call, 200, orjson.dumps(read()))
        except StripeError as error:
            return self._reply(call, error.status, orjson.dumps(error.body()))

    def _replayed(self, call: Call, replay: Replay) -> Reply:
        original_request_id, body = self._storage.answer(replay.record.seq)
        headers = (("Idempotent-Replayed", "true"), ("Original-Request", original_request_id))
        return self._reply(call, replay.status, body, headers)

    def _reply(
        self, call: Call, status: int, body: bytes, headers: tuple[tuple[str, str], ...] = ()
    ) -> Reply:
        name = "unrouted" if call.operation is None else call.operation.name
        self.stats.answered(name, status)
        version = call.request.headers.get("stripe-version", API_VERSION).partition(",")[0][:100]
        own: tuple[tuple[str, str], ...] = (("Request-Id", call.request_id), ("Stripe-Version", version))
        if call.key:
            own += (("Idempotency-Key", call.key),)
            if call.record is not None:
                own += (("Original-Request", call.request_id),)
        return Reply(status, body, own + headers)

    # Commit, and the replies that waited for it.

    def _enqueue(self, call: Call, answer: Answer) -> None:
        if not self._outbox:
            self._loop.call_soon(self.flush)
        self._outbox.append((call, answer))

    def flush(self) -> None:
        """Commits what this turn of the loop changed, then lets its replies go."""
        outbox, self._outbox = self._outbox, []
        self._commit()
        for call, answer in outbox:
            if call.record is not None:
                self.keys.release(call.record)
            # Each on its own: what one request breaks must cost no other client its reply.
            try:
                reply = answer()
            except Exception:
                log.exception("reply.crashed", path=call.request.path, request_id=call.request_id)
                body = orjson.dumps(errors.api_error(remembered=False).body())
                reply = self._reply(call, 500, body)
            plan = call.plan
            if plan.hang_s:
                self._loop.call_later(plan.hang_s, self._finish, call, reply)
            else:
                self._finish(call, reply)

    def _finish(self, call: Call, reply: Reply) -> None:
        try:
            call.connection.finish(reply, call.plan.ending)
        except Exception:
            log.exception("connection.crashed", path=call.request.path, request_id=call.request_id)
            call.connection.close()
        if call.operation is not None and reply is not _NOTHING:
            self.stats.latencies[call.operation.name].observe(monotonic() - call.started_s)

    def _commit(self) -> None:
        objects, events = self.world.drain()
        keys, answers = self.keys.drain()
        if not (objects or keys or events):
            return
        rows = [
            (
                event.seq,
                event.id,
                event.type,
                event.created,
                event.kind,
                event.state,
                event.request_id,
                event.idempotency_key,
            )
            for event in events
        ]
        deliveries = [(event.seq,) for event in events if self._delivers(event.type)]
        started_s = monotonic()
        try:
            self._storage.commit(objects, keys, answers, rows, deliveries)
        except Exception:
            log.exception(
                "ledger.commit_failed", what_to_do="free disk space or repair --data-dir, then restart"
            )
            os._exit(1)
        self.stats.commits.observe(monotonic() - started_s)
        if deliveries:
            self.events_committed.set()


_NOTHING = Reply(500, b"")


def _decode_body(request: Request) -> Pairs:
    if not request.body:
        return []
    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("application/x-www-form-urlencoded"):
        raise errors.invalid(
            "Invalid request (check that your POST content type is application/x-www-form-urlencoded). If you have any "
            "questions, we can help at https://support.stripe.com/.",
            param=None,
        )
    try:
        return decode_pairs(request.body.decode("utf-8"))
    except UnicodeDecodeError:
        raise errors.invalid("Invalid request: the body is not UTF-8.", param=None) from None
