"""Notice at once that the election key was deleted, through whichever member says it first."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import grpc
import structlog
from etcd3 import etcdrpc

from middleman.adapters.etcd.faults import RPC_ERRORS, describe, is_deadline
from middleman.adapters.etcd.members import Member, Members
from middleman.leadership.backoff import Backoff
from middleman.ports.clock import Clock

log = structlog.get_logger(__name__)

_STREAM_LIFE_S = 5.0
"""Streams have a deadline too: one on a member that hangs must not be believed to work for ever."""


class KeyWatch:
    """One watch stream per member on one key.

    A report is a hint, never a fact: whoever gets one reads the key. Missing one costs a delay of
    ``verify_interval_s``, after which the key is read anyway.
    """

    def __init__(self, members: Members, clock: Clock, key: bytes) -> None:
        self._members = members
        self._clock = clock
        self._key = key
        self._from_revision = 0
        self._deleted_at_revision = 0
        self._changed = asyncio.Event()
        self._known = asyncio.Event()

    def reflects(self, revision: int) -> None:
        """The key was read at ``revision``: only what happened after it is news.

        The revision has to come from the answer that was read, not from the header with which a
        stream is created: what happened between the two would be missed.
        """
        if revision + 1 < self._from_revision:
            # One member counts otherwise than the others (etcd issue 13766), or etcd was restored. Believing the
            # higher number would make the watch wait for a revision that is far away.
            log.debug("watch.revision_went_back", before=self._from_revision - 1, now=revision)
            self._deleted_at_revision = 0  # what was reported is looked at once more
        elif self._deleted_at_revision <= revision:
            self._changed.clear()  # else a watch was faster than the answer: that news still stands
        self._from_revision = revision + 1
        self._known.set()

    async def changed(self) -> None:
        """Return when the key may have been deleted, or after ``verify_interval_s``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._members.timing.verify_interval_s):
                await self._changed.wait()

    async def run(self) -> None:
        """Watch through every member until cancelled."""
        await self._known.wait()
        async with asyncio.TaskGroup() as streams:
            for member in self._members.all:
                streams.create_task(self._follow(member))

    async def _follow(self, member: Member) -> None:
        pause = Backoff(0.1, 1.0, self._members.uniform)
        while True:
            try:
                await self._stream(member)
            except RPC_ERRORS as error:
                if is_deadline(error):
                    pause.reset()  # the stream lived its life: open the next one without a gap
                    continue
                log.debug("watch.interrupted", member=member.endpoint, error=describe(error))
            await self._clock.sleep(pause.next_delay_s())

    async def _stream(self, member: Member) -> None:
        # "hasleader" makes a member that is cut off from etcd's own leader end the stream.
        metadata = (*self._members.metadata(), ("hasleader", "true"))
        stream = member.watch.Watch(timeout=_STREAM_LIFE_S, metadata=metadata)
        try:
            # write() and read(), because a request generator leaks one task per stream.
            create = etcdrpc.WatchCreateRequest(key=self._key, start_revision=self._from_revision)
            await stream.write(etcdrpc.WatchRequest(create_request=create))
            while (answer := await stream.read()) is not grpc.aio.EOF:
                self._members.require_ours(member, answer)
                if answer.canceled or answer.compact_revision:
                    # Events may be missing, or our token is stale: have the key read, which also gets a new token.
                    # One member may say so again and again, so the pauses between its streams grow.
                    log.debug("watch.canceled", member=member.endpoint, reason=answer.cancel_reason)
                    self._changed.set()
                    return
                for event in answer.events:
                    if event.type == event.DELETE:
                        self._deleted(int(event.kv.mod_revision))
        finally:
            stream.cancel()

    def _deleted(self, revision: int) -> None:
        # Every member reports the same deletion: after the key was read again, the rest is old news.
        if revision >= self._from_revision:
            self._deleted_at_revision = max(self._deleted_at_revision, revision)
            self._changed.set()
