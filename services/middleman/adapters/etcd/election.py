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
        answer = await self._members.call(
            lambda member: member.kv.Range, etcdrpc.RangeRequest(key=self.name, serializable=False)
        )
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
