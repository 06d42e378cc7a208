"""The election key: whoever creates it leads; its creation revision names the election.

etcd's own Election service is not used: in a trial it told a candidate whose lease had expired in the
queue that it had won.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from etcd3 import etcdrpc

from middleman.adapters.etcd.faults import LeaseNotFound
from middleman.adapters.etcd.members import Members
from middleman.ports.coordinator import CandidacyLost, Election, LeaderRecord


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to a try: our election if the key is ours, and etcd's revision at that moment."""

    election: Election | None
    revision: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Who holds the key, if anyone, and etcd's revision at that moment."""

    record: LeaderRecord | None
    revision: int

    def is_under(self, lease_id: int) -> bool:
        """Whether the key is there and this lease carries it: no other candidate has our lease.

        The creation revision is not compared: members that miscount (etcd issue 13766) give it differently.
        """
        return self.record is not None and self.record.lease_id == lease_id


@dataclass(frozen=True, slots=True)
class Vote:
    """What a majority of the members says about the key; ``held`` is None where there is no majority."""

    held: bool | None
    taken_by: LeaderRecord | None


class ElectionKey:
    """The key of one scope."""

    def __init__(self, members: Members, scope: int) -> None:
        self.name = f"{members.config.prefix}/election/{scope}".encode()
        self._members = members

    async def claim(self, candidate: str, lease_id: int) -> Claim:
        """Create the key under our lease if it is absent, else read it, in one transaction.

        A try whose answer was lost may have won. So a key that carries *our* lease is our victory.

        Raises:
            CandidacyLost: our lease is gone.
            CoordinatorUnavailable: no member answered in time.
        """
        try:
            answer = await self._members.call(
                lambda member: member.kv.Txn, self._create_if_absent(candidate, lease_id)
            )
        except LeaseNotFound as error:
            raise CandidacyLost("etcd says that the lease is gone") from error
        revision = int(answer.header.revision)
        if answer.succeeded:
            return Claim(Election(revision=revision, lease_id=lease_id), revision)
        held = answer.responses[0].response_range.kvs[0]
        if held.lease == lease_id:
            return Claim(Election(revision=int(held.create_revision), lease_id=lease_id), revision)
        return Claim(None, revision)

    async def read(self) -> Reading:
        """Who holds the key now: a linearizable read.

        Raises:
            CoordinatorUnavailable: no member answered in time.
        """
        return _reading(await self._members.call(lambda member: member.kv.Range, self._read_request()))

    async def vote(self, lease_id: int) -> Vote:
        """Whether a majority of the members, each by a linearizable read, has the key under ``lease_id``.

        For the moment before a term ends: a single member may have missed a write (etcd issue 13766), and then it
        does not have the key for as long as it lives.
        """
        majority = self._members.config.majority
        held: list[Reading] = []
        not_held: list[Reading] = []

        def decided(answer: Any) -> bool:
            reading = _reading(answer)
            (held if reading.is_under(lease_id) else not_held).append(reading)
            return majority in (len(held), len(not_held))

        if not await self._members.ask_all(
            lambda member: member.kv.Range, self._read_request(), decided=decided
        ):
            return Vote(held=None, taken_by=None)
        return Vote(held=len(held) == majority, taken_by=not_held[-1].record if not_held else None)

    def _read_request(self) -> Any:
        return etcdrpc.RangeRequest(key=self.name, serializable=False)

    def _create_if_absent(self, candidate: str, lease_id: int) -> Any:
        absent = etcdrpc.Compare(
            key=self.name,
            target=etcdrpc.Compare.CREATE,
            result=etcdrpc.Compare.EQUAL,
            create_revision=0,
        )
        create = etcdrpc.PutRequest(key=self.name, value=candidate.encode(), lease=lease_id)
        read = etcdrpc.RangeRequest(key=self.name)
        return etcdrpc.TxnRequest(
            compare=[absent],
            success=[etcdrpc.RequestOp(request_put=create)],
            failure=[etcdrpc.RequestOp(request_range=read)],
        )


def _reading(answer: Any) -> Reading:
    revision = int(answer.header.revision)
    if not answer.kvs:
        return Reading(None, revision)
    held = answer.kvs[0]
    record = LeaderRecord(
        candidate=held.value.decode(errors="replace"),
        revision=int(held.create_revision),
        lease_id=int(held.lease),
    )
    return Reading(record, revision)
