"""Failpoints that kill or freeze the process, for tests of recovery."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Sequence

import structlog

from middleman.adapters.stripe.config import StripeConfig
from middleman.adapters.stripe.processor import StripeProcessor
from middleman.domain.attempts import Declined, RequiresAction, Succeeded, Unknown
from middleman.ports.processor import ConfirmIntent, Guard, NotSent, OperatorFault, Refused

log = structlog.get_logger(__name__)

# How long a confirm that was handed over is given to leave the machine before the process dies.
_SENDING_S = 0.1
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class ProcessFailpoints:
    """`NAME=kill` or `NAME=stop`, with `@N` for the N-th time only (the first by default)."""

    def __init__(self, specs: Sequence[str]) -> None:
        """`specs` were checked by the settings, which refuse them outside the test environment."""
        self._actions: dict[str, tuple[signal.Signals, int]] = {}
        self._hits: Counter[str] = Counter()
        for spec in specs:
            name, _, action = spec.partition("=")
            verb, _, count = action.partition("@")
            self._actions[name] = (_SIGNALS[verb], int(count or 1))

    async def hit(self, name: str) -> None:
        """Die or freeze here, if that was asked for."""
        if name not in self._actions:
            return
        self._hits[name] += 1
        signal_no, count = self._actions[name]
        if self._hits[name] == count:
            log.warning("failpoint.hit", name=name, signal=signal_no.name)
            os.kill(os.getpid(), signal_no)


class FailpointProcessor(StripeProcessor):
    """A processor that dies at `after_confirm_sent`: the request has left, its answer has not been seen."""

    def __init__(self, config: StripeConfig, failpoints: ProcessFailpoints) -> None:
        super().__init__(config)
        self._failpoints = failpoints

    async def confirm_intent(
        self, request: ConfirmIntent, *, repeat: bool = False, guard: Guard | None = None
    ) -> Succeeded | Declined | RequiresAction | Refused | OperatorFault | Unknown | NotSent:
        """Confirm, and come to the failpoint once the request is on its way."""
        sent = asyncio.ensure_future(super().confirm_intent(request, repeat=repeat, guard=guard))
        try:
            await asyncio.wait({sent}, timeout=_SENDING_S)
            await self._failpoints.hit("after_confirm_sent")
            return await sent
        finally:
            sent.cancel()  # a call that its caller gave up must not go on beside the next term
