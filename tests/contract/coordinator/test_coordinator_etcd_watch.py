"""The watch on the election key: what it reports, what it keeps to itself, and what it admits to have missed."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from etcd3 import etcdrpc
from tests.support.coordinator_rigs import CLOCK

from cluster.etcd import EtcdCluster
from middleman.adapters.etcd.config import EtcdConfig
from middleman.adapters.etcd.members import Members
from middleman.adapters.etcd.watch import KeyWatch
from middleman.leadership.timing import LeaseTiming

pytestmark = pytest.mark.timeout(30)
SOON_S = 2.0
STREAM_LIFE_S = 5.0
PATIENT = LeaseTiming(lease_ttl_s=30, verify_interval_s=30.0)
"""So patient that whatever is noticed soon was noticed by the watch."""
_keys = itertools.count(1)


class Subject:
    """A watch on a key of its own, and hands to change the key with."""

    def __init__(self, members: Members, kv: etcdrpc.KVStub) -> None:
        self.key = f"/watched/{next(_keys)}".encode()
        self.watch = KeyWatch(members, CLOCK, self.key)
        self.kv = kv

    async def put(self) -> int:
        """Write the key; the cluster's revision after it."""
        answer = await self.kv.Put(etcdrpc.PutRequest(key=self.key, value=b"x"), timeout=2)
        return int(answer.header.revision)

    async def delete(self) -> int:
        """Delete the key; the cluster's revision after it."""
        answer = await self.kv.DeleteRange(etcdrpc.DeleteRangeRequest(key=self.key), timeout=2)
        return int(answer.header.revision)

    async def has_news(self, within_s: float) -> bool:
        """Whether a change is reported in time."""
        try:
            await asyncio.wait_for(self.watch.changed(), within_s)
        except TimeoutError:
            return False
        return True


@pytest_asyncio.fixture
async def subject(etcd_cluster: EtcdCluster) -> AsyncIterator[Subject]:
    """A watch that runs and so far knows nothing."""
    members = Members(
        EtcdConfig(etcd_cluster.endpoints), PATIENT, CLOCK, random.Random(7).random, lambda _: None
    )
    async with grpc.aio.insecure_channel(etcd_cluster.endpoints[0]) as channel:
        made = Subject(members, etcdrpc.KVStub(channel))
        running = asyncio.create_task(made.watch.run())
        yield made
        running.cancel()
        await asyncio.wait({running})
    await members.close()


async def test_a_deletion_is_reported(subject: Subject) -> None:
    subject.watch.reflects(await subject.put())
    waiting = asyncio.create_task(subject.has_news(SOON_S))
    await subject.delete()
    assert await waiting


async def test_a_deletion_between_the_reading_and_the_start_of_the_watch_is_reported(
    subject: Subject,
) -> None:
    revision = await subject.put()
    await subject.delete()
    subject.watch.reflects(revision)
    assert await subject.has_news(SOON_S)


async def test_a_deletion_faster_than_the_answer_that_was_read_before_it_is_kept(subject: Subject) -> None:
    revision = await subject.put()
    subject.watch.reflects(revision - 1)
    await subject.delete()
    assert await subject.has_news(SOON_S)
    subject.watch.reflects(revision)  # the answer arrives after the news that is later than it
    assert await subject.has_news(0.05)


async def test_a_deletion_that_a_later_reading_has_seen_is_old_news(subject: Subject) -> None:
    subject.watch.reflects(await subject.put())
    waiting = asyncio.create_task(subject.has_news(SOON_S))
    revision = await subject.delete()
    assert await waiting
    subject.watch.reflects(revision)
    assert not await subject.has_news(0.2)  # in which the other members report it too


async def test_a_revision_that_one_member_counted_too_high_blinds_the_watch_for_one_stream_at_most(
    subject: Subject,
) -> None:
    revision = await subject.put()
    subject.watch.reflects(revision + 1_000_000)
    assert not await subject.has_news(0.3)  # the streams wait for that revision
    subject.watch.reflects(revision)  # as another member says
    await subject.delete()
    assert await subject.has_news(STREAM_LIFE_S + SOON_S)
    subject.watch.reflects(revision + 1)
    assert not await subject.has_news(0.2)


async def test_being_overwritten_is_no_deletion(subject: Subject) -> None:
    subject.watch.reflects(await subject.put())
    await subject.put()
    assert not await subject.has_news(0.2)


async def test_a_history_compacted_away_is_reported_because_a_deletion_may_be_in_it(subject: Subject) -> None:
    revision = await subject.put()
    await subject.put()
    latest = await subject.put()
    await subject.kv.Compact(etcdrpc.CompactionRequest(revision=latest, physical=True), timeout=5)
    subject.watch.reflects(revision - 1)
    assert await subject.has_news(SOON_S)
